"""`anomalyst serve`: the workbench and the REST API."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.sign_in.config import OidcConfig


@opt.grouped
def serve(
    *,
    host: Annotated[
        str, Option(help="Address to listen at; any but this machine's own needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(help="Port to listen at.")] = 7860,
    home: opt.Home = Path("workbench"),
    products: opt.Products = Path("products"),
    runs: Annotated[Path, Option(metavar="DIR", help="Training runs to show.")] = Path("runs"),
    database: opt.Database = None,
    encoder: opt.Encoder = "embedded",
    compute: opt.Compute,
    language: opt.Language = None,
    rival: Annotated[
        Path | None,
        Option(metavar="DIR", help="A second language model: people rank its answers, too."),
    ] = None,
    segmenter: Annotated[
        str,
        Option(metavar="NAME", help="Draws masks by clicks: default, run:DIR, sam:DIR, grabcut."),
    ] = "default",
    refine: Annotated[
        bool, Option("--refine", help="Draw each found region's crisp edge at once.")
    ] = False,
    keys: Annotated[bool, Option("--keys", help="Requests need a key (`store key`).")] = False,
    oidc: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="YAML: people sign in by your OpenID provider; programs by key."
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, Option(metavar="FILE", help="PEM: answer by HTTPS; with --tls-key.")
    ] = None,
    tls_key: Annotated[
        Path | None, Option(metavar="FILE", help="PEM: the certificate's key.")
    ] = None,
    otlp: Annotated[
        str | None, Option(metavar="URL", help="Send traces there, by OpenTelemetry.")
    ] = None,
    allow_internal_webhooks: Annotated[
        bool,
        Option("--allow-internal-webhooks", help="Webhooks of Live may lie in your own network."),
    ] = False,
    keep_days: Annotated[
        int | None, Option(metavar="DAYS", help="Forget older inspections; corrected ones stay.")
    ] = None,
    upload_mb: Annotated[int, Option(help="Largest request.")] = 64,
    ray: Annotated[bool, Option("--ray", help="On Ray Serve: replicas come and go.")] = False,
    replicas: Annotated[int, Option(help="Most replicas of the model, with --ray.")] = 2,
) -> None:
    """Open the workbench in the browser; REST under /api/v1, its documentation at /docs.

    A new home opens with a product already taught. Ctrl-C finishes what is being done; what waits
    is taken up at the next start.

    Example: anomalyst serve --port 8000 --home line3
    Example: anomalyst serve --refine --segmenter sam:models/sam-vit-base
    Example: anomalyst store key "line 3" --role operator && anomalyst serve --host 0.0.0.0 --keys
    Example: anomalyst serve --host 0.0.0.0 --keys --tls-cert cert.pem --tls-key key.pem
    Example: anomalyst serve --host 0.0.0.0 --oidc oidc.yaml --tls-cert cert.pem --tls-key key.pem
    Example: anomalyst serve --otlp http://localhost:4318
    """
    needs("serve", "fastapi", "gradio", "sqlalchemy")
    from anomalyst.server.config import Limits, ServingConfig

    config = ServingConfig(
        home=home,
        products=products,
        runs=runs,
        database=database,
        encoder=encoder,
        **asdict(compute),
        language=language,
        rival=rival,
        segmenter=segmenter,
        refine=refine,
        host=host,
        port=port,
        keys=keys or oidc is not None,
        oidc=_oidc(oidc) if oidc is not None else None,
        tls_cert=tls_cert,
        tls_key=tls_key,
        otlp=otlp,
        internal_webhooks=allow_internal_webhooks,
        keep_days=keep_days,
        limits=Limits(upload_mb=upload_mb),
    )
    if ray:
        if tls_cert is not None:
            raise AnomalystError("--tls-cert: with --ray, put a TLS proxy in front of it.")
        needs("scale", "ray")
        from anomalyst.server.cluster.app import serve_on_ray

        serve_on_ray(config, replicas)
    else:
        _serve(config)


def _oidc(path: Path) -> "OidcConfig":
    """The provider, once it was tried. It may answer later: lines go on without it."""
    needs("oidc", "authlib")
    from anomalyst.server.errors import Unreachable
    from anomalyst.server.sign_in.config import read_oidc
    from anomalyst.server.sign_in.provider import Provider

    found = read_oidc(path)
    try:
        Provider(found).discovered()
    except Unreachable as error:
        say(f"{error} Nobody can sign in until it does; keys work.")
    return found


def _serve(config: "ServingConfig") -> None:
    from anomalyst.server.app import check_address, check_tls
    from anomalyst.server.app import serve as run
    from anomalyst.server.logs import write_json_logs

    check_address(config.host, config.port)
    if config.tls_cert is not None and config.tls_key is not None:
        check_tls(config.tls_cert, config.tls_key)
    write_json_logs()
    scheme = "http" if config.tls_cert is None else "https"
    say(f"Anomalyst opens at {scheme}://{config.host}:{config.port} (Ctrl-C ends it).")
    run(config)
