#!/usr/bin/env bash
# Where a recording goes that named its source, when the default source changes.
#
# Guess:     a recording that was opened on a source by its name stays there; only those that asked for the default follow
#            it.
# Behaviour: PulseAudio moves every recording on the old default source to the new one, the named ones too, unless the
#            user had moved them there by hand. The program is told nothing through ALSA's plugin, and goes on under the
#            name of the first source.
# Versions:  pulseaudio and pulseaudio-utils 16.1 (Debian 12), not in a folder of their own: a sound server is found by
#            its socket, which is.
# Seen:      opened on first.monitor: first.monitor
#            after another default: second.monitor
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
[[ $(pulseaudio --version) == "pulseaudio 16.1" ]] || { echo "another version: $(pulseaudio --version)"; exit 1; }
export HOME=$folder XDG_RUNTIME_DIR=$folder XDG_CONFIG_HOME=$folder PULSE_RUNTIME_PATH=$folder LC_ALL=C
unset PULSE_SERVER PULSE_SOURCE PULSE_SINK DISPLAY DBUS_SESSION_BUS_ADDRESS
pulseaudio -n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --log-level=error \
    --load="module-native-protocol-unix socket=$folder/native auth-anonymous=1" \
    --load="module-null-sink sink_name=first" --load="module-null-sink sink_name=second" &
export PULSE_SERVER=unix:$folder/native
for _ in $(seq 100); do pactl info > info.txt 2> /dev/null && break; sleep 0.1; done
pactl set-default-source first.monitor
parec --device=first.monitor > /dev/null &
place() {
    local index
    index=$(pactl list short source-outputs | cut -f 2)
    pactl list short sources | awk -v index_="$index" '$1 == index_ { print $2 }'
}
for _ in $(seq 100); do [[ -n $(place) ]] && break; sleep 0.1; done
{
    echo "opened on first.monitor: $(place)"
    pactl set-default-source second.monitor
    sleep 1
    echo "after another default: $(place)"
} | tee output.txt
diff output.txt - <<'SEEN'
opened on first.monitor: first.monitor
after another default: second.monitor
SEEN
echo "as seen"
