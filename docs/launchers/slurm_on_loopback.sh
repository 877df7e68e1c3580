#!/bin/bash
# Runs a command in a cluster of Slurm with two nodes, node1 and node2, both on this machine:
#   docs/launchers/slurm_on_loopback.sh COMMAND ...
# It needs root and, on Debian, `apt-get install slurm-wlm munge`. The cluster lives in namespaces
# of its own and under a temporary directory: nothing of the machine changes, and all of it ends
# with the command.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
    exec unshare --mount --pid --fork --mount-proc --kill-child "$0" --inside "$@"
fi
shift
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
mkdir "$directory"/{state,node1,node2}
chmod 755 "$directory"
(cat /etc/hosts && echo "127.0.0.1 node1 node2") > "$directory/hosts"
mount --bind "$directory/hosts" /etc/hosts
export SLURM_CONF=$directory/slurm.conf
cat > "$SLURM_CONF" << END
ClusterName=loopback
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmdParameters=config_overrides
MailProg=/bin/true
SlurmctldPort=17000
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$directory/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
GresTypes=gpu
ReturnToService=2
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/%n
SlurmctldPidFile=$directory/slurmctld.pid
SlurmctldLogFile=$directory/slurmctld.log
SlurmdPidFile=$directory/%n.pid
SlurmdLogFile=$directory/%n.log
NodeName=node1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17001 CPUs=64 Gres=gpu:8
NodeName=node2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17002 CPUs=64 Gres=gpu:8
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
END
touch "$directory"/gpu{0..7}
echo "Name=gpu File=$directory/gpu[0-7]" > "$directory/gres.conf"
(umask 077 && head -c 64 /dev/urandom > "$directory/munge.key")
munged --force --socket="$directory/munge.socket" --key-file="$directory/munge.key" \
    --log-file="$directory/munged.log" --pid-file="$directory/munged.pid" \
    --seed-file="$directory/munged.seed"
slurmctld
slurmd -N node1
slurmd -N node2
for _ in {1..30}; do
    [ "$(sinfo --noheader --states=idle --format=%D)" != 2 ] || break
    sleep 1
done
sinfo
"$@"
