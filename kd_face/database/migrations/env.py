"""Environment of the migrations: Alembic runs this file with the connection of the application."""

from alembic import context

from kd_face.database.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
