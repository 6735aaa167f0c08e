# Runs the command of the job and writes what came of it to the result disk.
export PATH=/opt/portolan/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
here=/run/portolan-job
result=$here/result
mkdir -p "$result"

for word in $(cat /proc/cmdline); do
  case $word in
  portolan.machine=*) export PORTOLAN_VM_MACHINE="${word#*=}" ;;
  portolan.boot=*) export PORTOLAN_VM_BOOT="${word#*=}" ;;
  esac
done
export PORTOLAN_VM_AGAIN="$result/again" PORTOLAN_COUNTS="$result/counts" PORTOLAN_JUNIT="$result/junit.xml"
export CI=true NO_COLOR=1 # the serial line looks like a terminal; nobody wants jest to redraw it
. "$here/settings"

echo "machine up after $(cut -d' ' -f1 /proc/uptime) s"
cd /opt/portolan && sh "$here/command"
status=$?
echo "ended with $status after $(cut -d' ' -f1 /proc/uptime) s"

echo "$status" >"$result/status"
[ ! -d /opt/portolan/reports ] || cp -r /opt/portolan/reports "$result/"
if [ "$status" != 0 ]; then
  dmesg >"$result/dmesg.txt"
  journalctl --no-pager --boot >"$result/journal.txt" 2>&1
fi
found=$(grep -lx result /sys/block/vd*/serial)
found=${found%/serial}
tar -C "$result" -cf - . | dd of="/dev/${found##*/}" bs=64k conv=fsync status=none

# A machine that is to boot again shuts down as its owner would do it. Any other may as well drop dead.
[ -e "$PORTOLAN_VM_AGAIN" ] || { sync; echo o >/proc/sysrq-trigger; sleep 60; }
