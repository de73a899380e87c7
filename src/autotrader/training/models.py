"""Model families: what a search may vary, and how a model is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autotrader.domain.errors import ConfigurationError
from autotrader.training.classifiers import Classifier, LightGbmClassifier, Parameters, SklearnClassifier

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model: what to search over, and how to make one.

    Attributes
    ----------
    name : str
    suggest : callable
        Draws parameters from an Optuna trial.
    build : callable
        Makes an unfitted classifier of (parameters, seed, threads).
    """

    name: str
    suggest: Callable[[optuna.trial.BaseTrial], dict[str, Any]]
    build: Callable[[Parameters, int, int], Classifier]


def family(name: str) -> Family:
    """The family of that name.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    if name not in FAMILIES:
        raise ConfigurationError(f"expected a model of {', '.join(FAMILIES)}, was {name!r}")
    return FAMILIES[name]


def _suggest_logistic(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    penalty = trial.suggest_categorical("penalty", ["l2", "l1", "elasticnet"])
    mix = trial.suggest_float("l1_ratio", 0.1, 0.9) if penalty == "elasticnet" else None
    strength = trial.suggest_float("inverse_strength", 1e-4, 1.0, log=True)
    return {"l1_ratio": {"l2": 0.0, "l1": 1.0}.get(penalty, mix), "inverse_strength": strength}


def _build_logistic(parameters: Parameters, seed: int, threads: int) -> Classifier:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ratio = parameters["l1_ratio"]
    model = LogisticRegression(
        l1_ratio=ratio,
        C=parameters["inverse_strength"],
        solver="lbfgs" if ratio == 0 else "saga",
        max_iter=200 if ratio == 0 else 60,
        tol=1e-3,
        random_state=seed,
    )
    return SklearnClassifier(make_pipeline(StandardScaler(), model), threads=threads)


def _suggest_hist_gradient_boosting(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "max_iter": trial.suggest_int("max_iter", 30, 100),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 5, 31, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 100, 2000, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 100.0, log=True),
        "max_features": trial.suggest_float("max_features", 0.3, 1.0),
    }


def _build_hist_gradient_boosting(parameters: Parameters, seed: int, threads: int) -> Classifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=seed)
    return SklearnClassifier(model, threads=threads)


def _suggest_lightgbm(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "rounds": trial.suggest_int("rounds", 30, 100),
        "num_leaves": trial.suggest_int("num_leaves", 5, 31, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 100, 2000, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 100.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
    }


def _build_lightgbm(parameters: Parameters, seed: int, threads: int) -> Classifier:
    own = {name: value for name, value in parameters.items() if name != "rounds"}
    return LightGbmClassifier(
        {**own, "bagging_freq": 1, "seed": seed}, rounds=parameters["rounds"], threads=threads
    )


FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family("logistic", _suggest_logistic, _build_logistic),
        Family("hist_gradient_boosting", _suggest_hist_gradient_boosting, _build_hist_gradient_boosting),
        Family("lightgbm", _suggest_lightgbm, _build_lightgbm),
    )
}
