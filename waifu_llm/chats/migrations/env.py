"""What Alembic runs: the migrations that are due, on the connection that it was handed."""

from alembic import context

from waifu_llm.chats.migrating import VERSION_TABLE
from waifu_llm.chats.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
