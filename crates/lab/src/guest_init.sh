#!/bin/busybox sh
# First process of a lab guest: loads the NIC's driver, names and addresses the NICs as the kernel command line says
# (helio.nic=MAC,NAME[,ADDRESS/LENGTH]), then runs the commands that arrive on the second serial line.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /lib/modules/order); do
	insmod "/lib/modules/$module"
done
ip link set lo up
# tcpdump gives up its rights to a user of this name.
echo 'tcpdump:x:0:0::/tmp:/bin/sh' >/etc/passwd

set_up_nic() { # MAC NAME ADDRESS
	for nic in /sys/class/net/*; do
		[ "$(cat "$nic/address")" = "$1" ] || continue
		ip link set dev "${nic##*/}" name "$2"
		[ -z "$3" ] || ip address add "$3" dev "$2"
		ip link set dev "$2" up
	done
}
for word in $(cat /proc/cmdline); do
	case $word in
	helio.nic=*) (IFS=,; set_up_nic ${word#helio.nic=}) ;;
	esac
done

stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1 2>&1
echo "@ready"
# One command a line, with a number in front; the answer ends with that number and the exit status. Not in the first
# process: that inherits what runs in the background, and busybox forgets half a line when a child ends meanwhile.
(
	while read -r number command; do
		sh -c "$command" </dev/null
		printf '\n@done %s %s\n' "$number" $?
	done
)
poweroff -f
