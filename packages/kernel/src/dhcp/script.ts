// The shell script that udhcpc calls for its events, and that starts udhcpc in a sandbox. sh and ip are all it needs.

/**
 * `keep MAC OPTION…` runs in a sandbox and obeys lines on its standard input: `use ADDRESS [GATEWAY]`, `drop`, `renew`, `release`.
 * When the client ends, as it does when the link gets its name in the sandbox just then, it says so, since it waits for a line itself.
 * When its input ends, which it does when the plugin is killed, the client ends; or else it would keep the sandbox alive.
 * Everything else are udhcpc's events. What servers send as free text is not passed on.
 */
export const script = String.raw`#!/bin/sh
if [ "$1" != keep ]; then
  echo "dhcp-event $1|$ip|$mask|$router|$serverid|$lease|$staticroutes"
  exit 0
fi
mac=$2
shift 2
link=$(ip -o link | while read -r _ name rest; do
  case $rest in *"link/ether $mac "*) echo "$name" | sed 's/[@:].*//'; break ;; esac
done)
if [ -z "$link" ]; then
  echo "dhcp-event missing"
  exit 0
fi

was_default() { ip -4 route show default dev "$link" | grep -q . && default=yes; }
default=no
was_default
exec 3>&1
client=$( (
  udhcpc -f -i "$link" -s "$0" "$@" </dev/null >&3 &
  echo $!
  exec >&3
  wait $!
  echo "dhcp-event gone"
) & )
while read -r command address gateway; do
  case $command in
  renew) kill -USR1 "$client" ;;
  release) kill -USR2 "$client" ;;
  drop)
    was_default
    ip -4 address flush dev "$link"
    ;;
  use)
    was_default
    ip -4 address flush dev "$link"
    ip -4 address add "$address" dev "$link"
    if [ "$default" = yes ] && [ -n "$gateway" ]; then ip -4 route replace default via "$gateway" dev "$link"; fi
    ;;
  esac
done
kill "$client"
`;
