"""Log in to the broker of the settings; start the embedded one."""

from collections.abc import Iterator

from streamer.commands.checks.finding import Finding
from streamer.commands.settings_check import check_mqtt
from streamer.publish.broker import PORT, BrokerOptions, EmbeddedBroker
from streamer.publish.broker_files import find_broker
from streamer.publish.check import check_connection
from streamer.publish.open import mqtt_settings
from streamer.settings import Settings


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Yield how publishing will go."""
    url = settings.mqtt.url
    check_mqtt(settings)
    if url == "off":
        yield Finding("broker", "note", "MQTT is off (mqtt.url); events go to the dashboard only.")
    elif url == "embedded":
        yield _embedded(settings)
    else:
        wanted = mqtt_settings(settings.mqtt, url)
        check_connection(wanted)
        yield Finding("broker", "ok", f"{wanted.broker} accepts the connection and brings messages back")


def _embedded(settings: Settings) -> Finding:
    running, table = find_broker(), settings.mqtt
    broker = EmbeddedBroker(BrokerOptions(port=PORT, access=table.embedded_access, prefix=table.prefix))
    try:
        url = broker.start()
        check_connection(mqtt_settings(table, url, *broker.login))
    finally:
        broker.stop()
    text = f"embedded; it starts with the monitor at {url}"
    if running is not None:
        return Finding("broker", "ok", f"{text} (another monitor's runs at {running})")
    if not url.endswith(f":{PORT}"):
        taken = f"port {PORT} is taken by another program, perhaps a broker: name it in mqtt.url to publish there"
        return Finding("broker", "note", f"{text}: {taken}.")
    return Finding("broker", "ok", text)
