"""A web service of your own with goflow-trio below /flow: one process, one port, one event loop."""

import trio
from hypercorn.config import Config
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware
from hypercorn.trio import serve
from quart_trio import QuartTrio

from goflow_trio import Engine, Goflow, Job, TaskContext

gf = Goflow()  # store="sqlite:///shop.db" keeps it
thumbnail = gf.add_job(Job("thumbnail", params={"picture": ""}))
shop = QuartTrio("shop")


@thumbnail.task
def shrink(context: TaskContext) -> str:
    return f"{context.params['picture']} is small now"


@shop.post("/pictures/<name>")
async def upload(name: str) -> dict[str, str]:
    engine: Engine = shop.config["ENGINE"]
    execution = await engine.submit("thumbnail", {"picture": name})  # returns once it is durable
    return {"name": name, "thumbnail": f"/flow/ui/executions/{execution.id}"}


async def main(
    bind: str = "127.0.0.1:8000", task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    config = Config()
    config.bind = [bind]
    async with gf.engine(grace=10) as engine:
        shop.config["ENGINE"] = engine
        both = TrioDispatcherMiddleware({"/flow": gf.app, "": shop})
        await serve(both, config, task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
