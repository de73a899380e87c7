"""Which home a place's URI names."""

from __future__ import annotations

from autotrader.adapters.bucket_objects import BucketObjects
from autotrader.adapters.folder_objects import FolderObjects
from autotrader.config.settings import AwsSettings
from autotrader.data.places import ObjectPath, local_path, place_of
from autotrader.ports.objects import ObjectStore
from autotrader.ports.places import Bucket


def open_objects(uri: str, settings: AwsSettings, *, region: str | None = None) -> ObjectStore:
    """The objects of a folder, or of a bucket.

    Parameters
    ----------
    uri : str
        A path, `file://` or `s3://bucket/prefix`.
    region : str or None
        Of the bucket, where it is not the settings'.

    Raises
    ------
    ConfigurationError
        If the URI is of another kind, or AWS is not set up.
    """

    def bucket(name: str) -> Bucket:
        from autotrader.adapters.s3_bucket import S3Bucket

        return S3Bucket(settings, name, region=region)

    place = place_of(uri, bucket)
    if isinstance(place, ObjectPath):
        return BucketObjects(place.bucket, place.prefix)
    return FolderObjects(local_path(place))
