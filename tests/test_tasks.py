import asyncio

from waifu_llm.tasks import end


async def test_what_swallows_a_cancellation_is_told_again() -> None:
    """As redis-py does while it connects."""
    swallowed, begun = 0, asyncio.Event()

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    loop = asyncio.create_task(deaf())
    await begun.wait()
    async with asyncio.timeout(10):
        await end([loop])
    assert loop.cancelled()


async def test_what_has_ended_is_left_as_it_is() -> None:
    async def work() -> int:
        return 7

    done = asyncio.create_task(work())
    await done
    await end([done])
    assert done.result() == 7
