#!/bin/sh
# The first process of a test node: furnishes namespaces that are already its own, then becomes
# the node's SSH server. Everything it makes lies in them and ends with them.
#
#   node_init.sh FOLDER NETWORK GPUS DISKS      for example: node_init.sh /tmp/node-7 10.213.7 4 2
#
# FOLDER holds what the world laid out (configuration, keys, the program) and keeps the node's
# state. NETWORK is the first three numbers of the node's /24: the node is .1, the world is .254.
set -eu
folder=$1 network=$2 gpus=$3 disks=$4

mount --make-rprivate /
mount -t tmpfs -o mode=755 node /run
mkdir -p /run/sshd /run/netns /run/lock /run/dev /run/state /run/image
for part in etc usr/local; do
    over=/run/over/$part
    mkdir -p "$over/upper" "$over/work"
    mount -t overlay -o "lowerdir=/$part,upperdir=$over/upper,workdir=$over/work" over "/$part"
done
mount -t tmpfs -o mode=700 root /root
mkdir -p "$folder/state"
mount --bind "$folder/state" /run/state

# Devices: what every Linux has, and GPUs that no driver answers for.
mount -t tmpfs -o mode=755,size=1m dev /run/dev
cd /run/dev
mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 full c 1 7
mknod -m 666 random c 1 8; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
mknod -m 660 loop-control c 10 237
number=0
while [ $number -lt 32 ]; do mknod -m 660 loop$number b 7 $number; number=$((number + 1)); done
number=0
while [ $number -lt "$gpus" ]; do mknod -m 666 nvidia$number c 4001 $number; number=$((number + 1)); done
mknod -m 666 nvidiactl c 4001 255
mkdir pts shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts pts
ln -s pts/ptmx ptmx; ln -s /proc/self/fd fd
cd /
mount --move /run/dev /dev

# Data disks: files behind loop devices, which have their names as serials.
mkdir -p /dev/disk/by-id
number=0
while [ $number -lt "$disks" ]; do
    truncate -s 48M "$folder/disk-$number"
    loop=$(losetup --find --show "$folder/disk-$number")
    blockdev --setrw "$loop"  # whoever had it before
    ln -s "$loop" "/dev/disk/by-id/disk-$number"
    number=$((number + 1))
done

# An image made of the machine's own programs, and nothing else of it.
cd /run/image
mkdir -p etc/ssh dev proc run tmp var home root
for part in bin sbin lib lib64; do
    [ ! -L /$part ] || cp -P /$part .
    [ ! -d /usr/$part ] || mkdir -p usr/$part
done
mkdir -p usr/share
for part in alternatives bash.bashrc ld.so.cache ld.so.conf ld.so.conf.d login.defs \
    nsswitch.conf profile services terminfo; do
    [ ! -e /etc/$part ] || cp -R -P /etc/$part etc/
done
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n' > etc/passwd
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' > etc/group
printf 'root:*:::::::\n' > etc/shadow
cd /

# The operator's part: the program, its configuration, who may come in.
mkdir -p /usr/local/bin
install -m 0755 "$folder/gpucloud-node" /usr/local/bin/gpucloud-node
install -m 0644 "$folder/gpucloud-node.json" /etc/gpucloud-node.json
install -m 0600 "$folder/host_key" /etc/ssh/node_host_key
install -m 0644 "$folder/authorized_keys" /etc/ssh/node_authorized_keys
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
cat > /etc/ssh/node_sshd_config <<END
ListenAddress $network.1
Port 22
HostKey /etc/ssh/node_host_key
AuthorizedKeysFile /etc/ssh/node_authorized_keys
PermitRootLogin forced-commands-only
AuthenticationMethods publickey
UsePAM no
UseDNS no
PidFile none
Subsystem sftp internal-sftp
END

mount -t tmpfs -o mode=1777 tmp /tmp

ip link set lo up
ip link add slices address 02:67:00:00:00:01 type bridge  # its own, whoever is plugged in
ip address add "$network.1/24" dev slices
ip link set slices up
while ! ip link show uplink > /dev/null 2>&1; do sleep 0.01; done
ip link set uplink master slices up

exec /usr/sbin/sshd -D -e -f /etc/ssh/node_sshd_config
