#!/bin/bash
# PID 1 of the guest, once its root stands. Beside the kernel's word `plimsoll.run` names a folder of the machine that holds
# `environment` (shell variables) and `command` (a bash script): it runs the command and powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
for word in $(</proc/cmdline); do
  case $word in
  plimsoll.run=*) run=${word#*=} ;;
  esac
done
. "$run/environment" # modules=FOLDER

port() {
  local each
  for each in /sys/class/virtio-ports/*; do
    [ "$(<"$each/name")" = "$1" ] && echo "/dev/${each##*/}"
  done
}

mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
mkdir -p /run/lock /scratch/tmp /lib/modules
ln -sfn "$modules" "/lib/modules/$(uname -r)"

# Two lists, active and inactive, as the contract knows them: with the multi-generational LRU, which Debian 13's kernel has
# on, a page that is read twice counts as inactive until the kernel has looked for pages to reclaim.
echo n >/sys/kernel/mm/lru_gen/enabled

# One unified hierarchy. A cgroup with processes cannot hand out controllers, so everything moves into a child first.
cgroups=/sys/fs/cgroup
mount -t cgroup2 -o nsdelegate cgroup2 $cgroups
mkdir $cgroups/init
for process in $(<$cgroups/cgroup.procs); do
  echo "$process" >$cgroups/init/cgroup.procs
done 2>/dev/null
for controller in $(<$cgroups/cgroup.controllers); do
  echo "+$controller" >$cgroups/cgroup.subtree_control
done

status=$(port status)
echo "started $(cut -d' ' -f1 /proc/uptime)" >"$status"
export TMPDIR=/scratch/tmp
setsid bash "$run/command" </dev/null >"$(port out)" 2>"$(port err)"
echo "exit $?" >"$status"
# At once and without writing anything back: nothing of this system is kept.
echo o >/proc/sysrq-trigger
sleep 60
