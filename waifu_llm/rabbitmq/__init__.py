"""How we reach a RabbitMQ: where it is, and a connection to it that is kept.

The door and the client both stand on this. `link` needs the extra `rabbitmq`; `address` does not.
"""
