# Puts the repository at /opt/portolan as the machine outside has it: its files and, from a disk of their own, the packages
# they need. The overlay makes it one file system that can be written to and forgotten.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=/run/portolan-job
cache=/var/cache/portolan

disk() {
  found=$(grep -lx "$1" /sys/block/vd*/serial) || return
  found=${found%/serial}
  echo "/dev/${found##*/}"
}

mkdir -p "$here/modules" "$here/work"
mount -t ext4 -o ro "$(disk modules)" "$here/modules"
mount -t overlay -o "lowerdir=$here/modules,upperdir=$here/repository,workdir=$here/work" portolan /opt/portolan

if products=$(disk products); then
  mkdir -p "$here/products"
  mount -t ext4 -o ro "$products" "$here/products"
  # Where `make plugins` leaves them, and where hosts of the lab see them.
  mkdir -p /opt/portolan/build/plugins
  mount --bind "$here/products/plugins" /opt/portolan/build/plugins
fi

mkdir -p "$cache/images" "$cache/trees"
cp "$here"/images/* "$cache/images/"
while read -r serial name; do
  mkdir -p "$cache/trees/$name"
  mount -t ext4 -o ro "$(disk "$serial")" "$cache/trees/$name"
done <"$here/trees"

# A new network namespace forwards IPv4 as the first one does, whoever makes it. dockerd turns that on where it runs, and relies on
# it for those that it makes: answers of ports that a swarm publishes on every node pass through one. Where hosts of the lab
# are namespaces themselves, no dockerd runs in the first one. With systemd one does.
[ -d /run/systemd/system ] || sysctl -q -w net.ipv4.ip_forward=1

# The wire to the other machine, where there is one.
for word in $(cat /proc/cmdline); do
  case $word in portolan.machine=*) number=${word#*=} ;; esac
done
ip link set lo up
modprobe virtio_net # udev may not have come that far
if [ -e /sys/class/net/eth0 ]; then
  ip address replace "198.51.100.$((10 + number))/24" dev eth0
  ip -6 address replace "fd00:120::$((10 + number))/64" dev eth0 nodad
  ip link set eth0 up
fi
