"""Health of the server: whether it is alive, and whether it can recognize."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from kd_face.database.migrate import require_current
from kd_face.errors import FaceError
from kd_face.web.access import ANYONE
from kd_face.web.state import Shared

router = APIRouter(dependencies=[Depends(ANYONE)])


@router.get("/health")
async def health() -> dict[str, str]:
    """Return that the server is alive."""
    return {"status": "alive"}


@router.get("/health/ready")
def ready(web: Shared) -> JSONResponse:
    """Return whether the database is there with its tables, and the index can be searched."""
    checks = {"database": "ok", "index": "ok"}
    try:
        require_current(web.home.engine)
        try:
            with web.home.read() as session:
                web.index.refresh(session)
        except Exception:
            checks["index"] = "failed"
    except FaceError:
        checks["database"] = "of another version"
    except Exception:
        checks["database"] = "failed"
    is_ready = set(checks.values()) == {"ok"}
    return JSONResponse(checks, 200 if is_ready else 503)
