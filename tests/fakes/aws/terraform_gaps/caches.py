"""ElastiCache: parameter groups, deletion of subnet groups, members and the end of replication groups."""

from __future__ import annotations

from typing import Any


def patch() -> None:
    _add_parameter_groups()
    _add_deletion_of_subnet_groups()
    _add_member_clusters()


def _not_found(what: str, name: str) -> Exception:
    from moto.core.exceptions import ServiceException

    class Missing(ServiceException):
        code = f"{what}NotFoundFault" if what == "CacheSubnetGroup" else f"{what}NotFound"

    return Missing(f"{what} {name} not found")


def _kept(responses: Any, kind: str) -> dict[str, Any]:
    """By name, what this account and region has of a kind that moto does not know."""
    backend = responses.elasticache_backend
    if not hasattr(backend, kind):
        setattr(backend, kind, {})
    found: dict[str, Any] = getattr(backend, kind)
    return found


def _add_parameter_groups() -> None:
    from moto.core.responses import ActionResult, EmptyResult
    from moto.elasticache.responses import ElastiCacheResponse

    def group_of(self: Any) -> dict[str, Any]:
        name = self._get_param("CacheParameterGroupName")
        groups = _kept(self, "parameter_groups")
        if name not in groups:
            raise _not_found("CacheParameterGroup", name)
        found: dict[str, Any] = groups[name]
        return found

    def create_cache_parameter_group(self: Any) -> Any:
        name = self._get_param("CacheParameterGroupName")
        arn = f"arn:aws:elasticache:{self.region}:{self.current_account}:parametergroup:{name}"
        made = {
            "CacheParameterGroupName": name,
            "CacheParameterGroupFamily": self._get_param("CacheParameterGroupFamily"),
            "Description": self._get_param("Description"),
            "ARN": arn,
            "parameters": {},
        }
        _kept(self, "parameter_groups")[name] = made
        _kept(self, "tags_by_arn")[arn] = self._get_param("Tags", [])
        return ActionResult({"CacheParameterGroup": made})

    def describe_cache_parameter_groups(self: Any) -> Any:
        return ActionResult({"CacheParameterGroups": [group_of(self)]})

    def modify_cache_parameter_group(self: Any) -> Any:
        group = group_of(self)
        for change in self._get_param("ParameterNameValues", []):
            group["parameters"][change["ParameterName"]] = change["ParameterValue"]
        return ActionResult({"CacheParameterGroupName": group["CacheParameterGroupName"]})

    def reset_cache_parameter_group(self: Any) -> Any:
        group = group_of(self)
        for change in self._get_param("ParameterNameValues", []):
            group["parameters"].pop(change["ParameterName"], None)
        return ActionResult({"CacheParameterGroupName": group["CacheParameterGroupName"]})

    def describe_cache_parameters(self: Any) -> Any:
        said = [
            {"ParameterName": name, "ParameterValue": value, "Source": "user"}
            for name, value in group_of(self)["parameters"].items()
        ]
        return ActionResult({"Parameters": said, "CacheNodeTypeSpecificParameters": []})

    def delete_cache_parameter_group(self: Any) -> Any:
        del _kept(self, "parameter_groups")[group_of(self)["CacheParameterGroupName"]]
        return EmptyResult()

    listed = ElastiCacheResponse.list_tags_for_resource

    def list_tags_for_resource(self: Any) -> Any:
        tags = _kept(self, "tags_by_arn").get(self._get_param("ResourceName"))
        return listed(self) if tags is None else ActionResult({"TagList": tags})

    for action in (
        create_cache_parameter_group,
        describe_cache_parameter_groups,
        modify_cache_parameter_group,
        reset_cache_parameter_group,
        describe_cache_parameters,
        delete_cache_parameter_group,
        list_tags_for_resource,
    ):
        setattr(ElastiCacheResponse, action.__name__, action)


def _add_deletion_of_subnet_groups() -> None:
    from moto.core.responses import EmptyResult
    from moto.elasticache.responses import ElastiCacheResponse

    def delete_cache_subnet_group(self: Any) -> Any:
        name = self._get_param("CacheSubnetGroupName")
        groups = self.elasticache_backend.cache_subnet_groups
        if name not in groups:
            raise _not_found("CacheSubnetGroup", name)
        del groups[name]
        return EmptyResult()

    ElastiCacheResponse.delete_cache_subnet_group = delete_cache_subnet_group  # type: ignore[attr-defined]


def _add_member_clusters() -> None:
    from moto.core.responses import ActionResult
    from moto.elasticache.responses import ElastiCacheResponse

    created = ElastiCacheResponse.create_replication_group
    described = ElastiCacheResponse.describe_cache_clusters

    def create_replication_group(self: Any) -> Any:
        result = created(self)
        group = self.elasticache_backend.replication_groups[self._get_param("ReplicationGroupId")]
        for name in group.member_clusters:
            _kept(self, "member_clusters")[name] = {
                "CacheClusterId": name,
                "CacheClusterStatus": "available",
                "ReplicationGroupId": group.replication_group_id,
                "CacheNodeType": self._get_param("CacheNodeType"),
                "Engine": self._get_param("Engine"),
                # Asked for by two numbers, told by three.
                "EngineVersion": f"{self._get_param('EngineVersion')}.0",
                "PreferredMaintenanceWindow": self._get_param("PreferredMaintenanceWindow"),
                "CacheParameterGroup": {
                    "CacheParameterGroupName": self._get_param("CacheParameterGroupName")
                },
                "CacheSubnetGroupName": self._get_param("CacheSubnetGroupName"),
                "SecurityGroups": [
                    {"SecurityGroupId": one, "Status": "active"}
                    for one in self._get_param("SecurityGroupIds") or []
                ],
                "AutoMinorVersionUpgrade": self._get_bool_param("AutoMinorVersionUpgrade"),
                "SnapshotRetentionLimit": self._get_int_param("SnapshotRetentionLimit") or 0,
                "AtRestEncryptionEnabled": self._get_bool_param("AtRestEncryptionEnabled"),
                "TransitEncryptionEnabled": self._get_bool_param("TransitEncryptionEnabled"),
                "TransitEncryptionMode": self._get_param("TransitEncryptionMode"),
            }
        return result

    def describe_cache_clusters(self: Any) -> Any:
        member = _kept(self, "member_clusters").get(self._get_param("CacheClusterId"))
        return described(self) if member is None else ActionResult({"CacheClusters": [member]})

    deleted = ElastiCacheResponse.delete_replication_group

    def delete_replication_group(self: Any) -> Any:
        """Moto would call it `deleting` for ever."""
        result = deleted(self)
        gone = self._get_param("ReplicationGroupId")
        del self.elasticache_backend.replication_groups[gone]
        members = _kept(self, "member_clusters")
        for name in [name for name, member in members.items() if member["ReplicationGroupId"] == gone]:
            del members[name]
        return result

    ElastiCacheResponse.delete_replication_group = delete_replication_group  # type: ignore[method-assign]
    ElastiCacheResponse.create_replication_group = create_replication_group  # type: ignore[method-assign]
    ElastiCacheResponse.describe_cache_clusters = describe_cache_clusters  # type: ignore[method-assign]
