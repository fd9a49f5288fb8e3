"""The systemd units: with the rights that the settings need, a watchdog, and a restart after a failure."""

import re
from collections.abc import Iterable

from streamer.commands.service_manager import WATCHDOG_S
from streamer.commands.service_needs import Needs

STATE = "/var/lib/streamer"


def system_unit(needs: Needs) -> str:
    """Return a unit for /etc/systemd/system: a user of its own where its files allow that, and hardly any rights."""
    user = [f"User={needs.user}"] if needs.user else ["DynamicUser=yes"]
    devices = ["PrivateDevices=yes"] if not (needs.microphone or needs.gpu) else ["DevicePolicy=closed"]
    if needs.microphone:
        devices += ["SupplementaryGroups=audio", "DeviceAllow=char-alsa rw"]
    if needs.gpu:
        devices += ["DeviceAllow=char-nvidia* rw"]
    network = ["IPAddressDeny=any", "IPAddressAllow=localhost"] if not (needs.network or needs.actions) else []
    parts = [
        "# /etc/systemd/system/streamer.service: then `systemctl daemon-reload && systemctl enable --now streamer`.",
        "# Passwords: STREAMER_MQTT__PASSWORD=… and STREAMER_SOURCE_PASSWORD=… in /etc/streamer.env, mode 600.",
        f"# A mute of a stream is lifted by: sudo env XDG_STATE_HOME={STATE} {needs.program} mute --lift STREAM",
        *_action_hint(needs),
        "",
        *_unit(needs, after="network-online.target sound.target", wants="network-online.target"),
        "",
        *_service(needs),
        *user,
        "EnvironmentFile=-/etc/streamer.env",
        f"Environment=HOME={STATE} XDG_DATA_HOME={STATE} XDG_STATE_HOME={STATE} XDG_CONFIG_HOME={STATE}",
        "Environment=XDG_CACHE_HOME=/var/cache/streamer XDG_RUNTIME_DIR=/run/streamer",
        "StateDirectory=streamer",
        "CacheDirectory=streamer",
        "RuntimeDirectory=streamer",
        "",
        "# Devices, files and network: what these settings need.",
        *devices,
        *network,
        f"ProtectHome={'read-only' if needs.in_home else 'yes'}",
        "ProtectSystem=strict",
        *[f"ReadWritePaths={_word(str(path))}" for path in needs.writes],
        "PrivateTmp=yes",
        "ProtectProc=invisible",
        "ProtectControlGroups=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "RemoveIPC=yes",
        *_sandbox(),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(parts) + "\n"


def user_unit(needs: Needs) -> str:
    """Return a unit for ~/.config/systemd/user: of the session, with its sound server, files and rights."""
    parts = [
        "# ~/.config/systemd/user/streamer.service: then `systemctl --user daemon-reload`,",
        "# `systemctl --user enable --now streamer`. `loginctl enable-linger` lets it run while you are logged out.",
        "# Passwords: STREAMER_MQTT__PASSWORD=… and STREAMER_SOURCE_PASSWORD=… in ~/.config/streamer.env, mode 600.",
        *_action_hint(needs),
        "",
        *_unit(needs, after="pipewire.service pulseaudio.service"),
        "",
        *_service(needs),
        "EnvironmentFile=-%h/.config/streamer.env",
        "",
        *_sandbox(),
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(parts) + "\n"


def _unit(needs: Needs, after: str, wants: str = "") -> list[str]:
    return [
        "[Unit]",
        "Description=streamer, a speech emotion monitor",
        f"After={after}",
        *([f"Wants={wants}"] if wants and needs.network else []),
        "StartLimitIntervalSec=10min",
        "StartLimitBurst=20",
    ]


def _service(needs: Needs) -> list[str]:
    return [
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        "# Events go to the broker; standard output would have them as JSON lines.",
        "StandardOutput=null",
        "ExecStart=" + " ".join(map(_word, (str(needs.program), *needs.arguments))),
        "# Thresholds, tracker, actions and streams are followed; the journal says what takes a restart.",
        "ExecReload=kill -HUP $MAINPID",
        *([f"WorkingDirectory={_path(str(needs.folder))}"] if needs.folder else []),
        "TimeoutStartSec=5min",
        "TimeoutStopSec=20s",
        "# The last actions may run when it stops.",
        "KillMode=mixed",
        f"WatchdogSec={WATCHDOG_S:.0f}s",
        "Restart=on-failure",
        "RestartSec=5s",
        "# Wrong settings: a restart does not cure them.",
        "RestartPreventExitStatus=2",
    ]


def _sandbox() -> list[str]:
    """Return limits that also a session's own service manager can set."""
    return [
        "NoNewPrivileges=yes",
        "UMask=0077",
        "LockPersonality=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
        "# Not MemoryDenyWriteExecute: the model's libraries compile code for this processor as they run.",
    ]


def _action_hint(needs: Needs) -> Iterable[str]:
    return ["# The commands of [[action]] tables run within the limits below; loosen what they need."] * needs.actions


def _path(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """Return `text` as one word of a command or a list, whatever is in it."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if re.fullmatch(r"[\w./:@%$+=,-]+", plain) else f'"{plain}"'
