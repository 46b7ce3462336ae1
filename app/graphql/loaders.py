"""Batches nested reads, with one loader for each batch read of one operation.

Nothing is cached longer than the operation.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader

from app.access.work import Work

V = TypeVar("V")
Read = Callable[..., Awaitable[Any]]


class Loaders:
    """The loaders of one operation, by the batch read function for which each collects keys."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._loaders: dict[Callable[..., Any], DataLoader[Any, Any]] = {}

    async def load(self, function: Callable[[Work, list[UUID]], Awaitable[Mapping[UUID, V]]], key: UUID) -> V | None:
        """Returns the batch read's row for one key."""

        async def gather(keys: list[UUID]) -> list[V | None]:
            rows: Mapping[UUID, V] = await self._read(function, keys)
            return [rows.get(key) for key in keys]

        loader: DataLoader[UUID, V | None] = self._loader(function, gather)
        return await loader.load(key)

    async def once(self, function: Callable[[Work], Awaitable[V]]) -> V:
        """Returns the result of a read without keys, which only the first call executes."""

        async def gather(keys: list[None]) -> list[V]:
            rows: V = await self._read(function)
            return [rows for _ in keys]

        loader: DataLoader[None, V] = self._loader(function, gather)
        return await loader.load(None)

    def _loader(self, function: Callable[..., Any], gather: Callable[[list[Any]], Awaitable[Any]]) -> Any:
        loader = self._loaders.get(function)
        if loader is None:
            loader = self._loaders[function] = DataLoader(load_fn=gather)
        return loader
