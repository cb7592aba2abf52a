#!/bin/bash
# Builds the guest image that the hypervisor adapter boots, from Debian packages only, in seconds, as any user.
#
#   guest/build.sh [--install] OUTDIR
#
# OUTDIR becomes an image directory: kernel, initrd, base.qcow2, image.toml (read by the adapter) and packages.txt (what
# it was made of). Its name is the image's name, so OUTDIR is IMAGES_DIR/debian-guest. Nothing is done when OUTDIR is
# complete and this folder has not changed. Files are replaced by renaming, so machines that run keep what they have.
# --install fetches missing tools with apt-get (as root); without it they are named.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

# The tenant's disk starts as this file system and is grown to the lease's size at boot. It is the least that a lease can have.
BASE_DISK_SIZE=1G
# In this order at boot; whatever they depend on comes before them.
MODULES="virtio_pci virtio_blk virtio_net virtio_rng virtio_balloon qemu_fw_cfg button evdev"
# What the guest is made of, beside the kernel and the libraries that these need.
PACKAGES="busybox-static dropbear-bin e2fsprogs"
# tool:package that has it
TOOLS="apt-get:apt dpkg-deb:dpkg cpio:cpio gzip:gzip lz4:lz4 xz:xz-utils modprobe:kmod depmod:kmod qemu-img:qemu-utils
       mkfs.ext4:e2fsprogs sha256sum:coreutils flock:util-linux awk:mawk grep:grep"

fail() { echo "build.sh: $*" >&2; exit 1; }

check_tools() {
  local pair missing=""
  for pair in $TOOLS; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
  done
  [ -n "$missing" ] || return 0
  missing=$(tr ' ' '\n' <<<"$missing" | sort -u | xargs)
  local command="apt-get update && apt-get install -y --no-install-recommends $missing"
  [ "$install" = yes ] || fail "missing tools; as root: $command   (or run build.sh with --install)"
  [ "$(id -u)" = 0 ] || fail "--install needs root; or run this as root: $command"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# The versioned package behind linux-image-cloud-amd64, without "linux-image-".
kernel_version() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: linux-image-\(.*-cloud-amd64\)$/\1/p' | head -n 1
}

find_kernel_version() {
  KERNEL_VERSION=$(kernel_version || true)
  if [ -z "$KERNEL_VERSION" ] && [ "$install" = yes ] && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    KERNEL_VERSION=$(kernel_version || true)
  fi
  [ -n "$KERNEL_VERSION" ] || fail "apt knows no package linux-image-cloud-amd64; as root: apt-get update   (Debian 12 or later, amd64)"
}

# Every package that the guest needs, with the libraries that its programs load.
list_packages() {
  echo "linux-image-$KERNEL_VERSION"
  tr ' ' '\n' <<<"$PACKAGES"
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances $PACKAGES |
    grep -E '^(lib|zlib)'
}

unpack_packages() {
  local deb dir sandbox=()
  # Downloading as root otherwise warns that the user _apt may not write to our folder.
  [ "$(id -u)" != 0 ] || sandbox=(-o APT::Sandbox::User=root)
  mkdir -p "$work/debs"
  list_packages | sort -u >"$work/packages"
  (cd "$work/debs" && xargs apt-get download -qq "${sandbox[@]}" <"$work/packages") ||
    fail "apt-get could not download; as root: apt-get update   (then see that the mirror is reachable)"
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$tree"; done
  # Some releases ship /lib, some /usr/lib: make every one look like the latter.
  for dir in bin sbin lib lib64; do
    [ -L "$tree/$dir" ] && continue
    mkdir -p "$tree/usr/$dir"
    [ ! -d "$tree/$dir" ] || { cp -al "$tree/$dir/." "$tree/usr/$dir/"; rm -rf "${tree:?}/$dir"; }
    ln -s "usr/$dir" "$tree/$dir"
  done
  (cd "$work/debs" && ls -- *.deb) >"$work/out/packages.txt"
}

# A program with the libraries that it loads, as the guest's own loader finds them.
add_program() {
  local program=$1 library name
  cp "$tree/$program" "$root/$program"
  local dirs=$tree/usr/lib/x86_64-linux-gnu:$tree/usr/lib
  "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$dirs" --list "$tree/$program" >"$work/libraries"
  awk '$2 == "=>" { print $3 }' "$work/libraries" | while read -r library; do
    name=$(basename "$library")
    [ "$library" != not ] || fail "a library of $program is in none of the packages: $(grep 'not found' "$work/libraries" | xargs)"
    cp -L "$library" "$root/usr/lib/x86_64-linux-gnu/$name"
  done
}

add_modules() {
  local name file
  depmod -b "$tree" "$KERNEL_VERSION"
  for name in $MODULES; do
    modprobe -d "$tree" -S "$KERNEL_VERSION" --show-depends "$name" || fail "kernel $KERNEL_VERSION has no module $name"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    cp "$file" "$root/lib/modules/"
    name=$(basename "$file")
    case $name in *.xz) xz -d "$root/lib/modules/$name"; name=${name%.xz} ;; esac
    echo "$name" >>"$root/lib/modules/order"
  done
}

make_initrd() {
  local applet
  mkdir -p "$root"/{proc,sys,dev,run,tmp,mnt,data,etc/dropbear,etc/acpi/PWRF,var/log,usr/bin,usr/sbin,usr/lib/x86_64-linux-gnu,usr/lib64}
  mkdir -p -m 700 "$root/root/.ssh"
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root/"
  mkdir -p "$root/lib/modules"
  cp "$tree/bin/busybox" "$root/bin/busybox"
  "$tree/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  cp -L "$tree/lib64/ld-linux-x86-64.so.2" "$root/lib64/"
  add_program usr/sbin/dropbear
  add_program usr/sbin/resize2fs
  add_modules
  cp "$here/init" "$root/init"
  cp "$here/powerdown" "$root/etc/acpi/PWRF/00000080"
  chmod 755 "$root/init" "$root/etc/acpi/PWRF/00000080"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
  echo 'root:x:0:' >"$root/etc/group"
  echo /bin/sh >"$root/etc/shells"
  printf '%s: files\n' passwd group shadow hosts services protocols networks >"$root/etc/nsswitch.conf"
  printf '%s\n' '::ctrlaltdel:/bin/poweroff -f' '::shutdown:/bin/sync' >"$root/etc/inittab"
  (cd "$root" && find . -print0 | sort -z | cpio -0 -o -H newc -R 0:0 --quiet | gzip -6n) >"$work/out/initrd"
}

# The uncompressed kernel boots faster under software emulation (PVH entry); where it cannot be taken out, the packed one does.
make_kernel() {
  local packed="$tree/boot/vmlinuz-$KERNEL_VERSION" offset
  offset=$(grep -abom1 -P '\x02\x21\x4c\x18' "$packed" | head -n 1 | cut -d: -f1 || true)
  if [ -n "$offset" ]; then
    # lz4 complains about what follows the kernel; the header of the result tells whether it worked.
    tail -c "+$((offset + 1))" "$packed" | lz4 -dc >"$work/vmlinux" 2>/dev/null || true
    if [ "$(head -c 4 "$work/vmlinux" | od -An -tx1 | tr -d ' ')" = 7f454c46 ]; then
      mv "$work/vmlinux" "$work/out/kernel"
      return
    fi
  fi
  cp "$packed" "$work/out/kernel"
}

make_disk() {
  truncate -s "$BASE_DISK_SIZE" "$work/base.raw"
  mkfs.ext4 -q -L data -m 0 -E lazy_itable_init=1,lazy_journal_init=1 "$work/base.raw"
  qemu-img convert -f raw -O qcow2 "$work/base.raw" "$work/out/base.qcow2"
}

make_description() {
  cat >"$work/out/image.toml" <<TOML
# Written by guest/build.sh: how the hypervisor adapter boots this image.
kernel = "kernel"
initrd = "initrd"
base = "base.qcow2"
cmdline = "console=ttyS0 quiet panic=5"
user = "root"
min_memory_mib = 96
min_disk_gib = 1
ready_line = "sublet-guest: ready"
TOML
}

install=no out=""
for argument in "$@"; do
  case $argument in
    --install) install=yes ;;
    -*) fail "unknown option $argument; usage: build.sh [--install] OUTDIR" ;;
    *) [ -z "$out" ] || fail "one OUTDIR only; usage: build.sh [--install] OUTDIR"; out=$argument ;;
  esac
done
[ -n "$out" ] || fail "usage: build.sh [--install] OUTDIR   (for example: build.sh ~/.cache/sublet/images/debian-guest)"
[ "$(uname -m)" = x86_64 ] || fail "the guest is amd64 and is built on amd64; this is $(uname -m)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
check_tools
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock 9

inputs=$(cd "$here" && cat build.sh init powerdown | sha256sum | cut -d' ' -f1)
complete=yes
for file in kernel initrd base.qcow2 image.toml; do [ -s "$out/$file" ] || complete=no; done
if [ "$complete" = yes ] && [ "$(cat "$out/.inputs" 2>/dev/null)" = "$inputs" ]; then
  echo "$out is up to date" >&2
  exit 0
fi

# Inside OUTDIR, so that the renames at the end stay on one file system.
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree root=$work/root
mkdir -p "$tree" "$root" "$work/out"
find_kernel_version
unpack_packages
make_initrd
make_kernel
make_disk
make_description
chmod 644 "$work"/out/*
rm -f "$out/.inputs"
mv -f "$work"/out/* "$out/"
echo "$inputs" >"$out/.inputs"
echo "$out is built: linux $KERNEL_VERSION, initrd $(du -h "$out/initrd" | cut -f1)" >&2
