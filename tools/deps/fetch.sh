# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/setup: fetches locked programs (lock.tsv) through the machine's own package clients, so that
# mirrors, proxies and certificates configured for apt, pip, npm and go hold here too. No registry is named.
# Each fetch_SOURCE LOCATOR SHA256 WORKDIR leaves one file in WORKDIR and prints its path, or fails.

debian_apt_options=()

# The machine's own mirror with a suite that it does not follow: private lists, nothing on the system changes.
debian_open() {  # SUITE...
  local dir=$deps/apt mirror key
  key=$(printf '%s_' "$@")
  mkdir -p "$dir/$key/lists/partial" "$dir/cache/archives/partial"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/') || true
  if [ -z "$mirror" ]; then
    echo "no Debian mirror in apt's sources (apt-get indextargets names none ending in /debian/)" >&2
    return 1
  fi
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" "$*" > "$dir/$key/extra.sources"
  debian_apt_options=(-q -o "Dir::Etc::sourcelist=$dir/$key/extra.sources" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State::Lists=$dir/$key/lists" -o "Dir::Cache=$dir/cache" -o Acquire::Languages=none
    -o Acquire::Retries=3 -o APT::Sandbox::User=root)
  [ -e "$dir/$key/fresh" ] && return 0
  apt-get "${debian_apt_options[@]}" update >&2 && touch "$dir/$key/fresh"
}

fetch_debian() {
  local suite=${1%%:*} package=${1#*:} work=$3
  debian_open "$suite" || return 1
  (cd "$work" && apt-get "${debian_apt_options[@]}" download "$package" >&2) || return 1
  find "$work" -name '*.deb' | head -n1
}

fetch_pypi() {
  local work=$3
  printf '%s --hash=sha256:%s\n' "$1" "$2" > "$work/requirement.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -d "$work" -r "$work/requirement.txt" >&2 || return 1
  find "$work" -name '*.whl' | head -n1
}

fetch_npm() {
  local work=$3
  (cd "$work" && "$deps/bin/npm" pack --silent "$1" >&2) || return 1
  find "$work" -name '*.tgz' | head -n1
}

# A Go toolchain that may build the newest locked server: the machine's, else Debian's, unpacked beside.
go_root() {
  local have dir=$deps/go
  if have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) &&
     [ "$(printf 'go1.26\n%s\n' "$have" | sort -V | head -n1)" = go1.26 ]; then
    GOTOOLCHAIN=local go env GOROOT
    return
  fi
  if [ ! -x "$dir/bin/go" ]; then
    local work
    work=$(mktemp -d "$deps/tmp.XXXXXX")
    debian_open trixie-backports || return 1
    (cd "$work" && apt-get "${debian_apt_options[@]}" download golang-1.26-go golang-1.26-src >&2) || return 1
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    mkdir -p "$work/go"
    cp -r "$work/root/usr/share/go-1.26/." "$work/go/"
    # Debian splits GOROOT in two and ties them with absolute links, which point nowhere in here.
    find "$work/root/usr/lib/go-1.26" -type l -delete
    cp -r "$work/root/usr/lib/go-1.26/." "$work/go/"
    rm -rf "$dir" && mv "$work/go" "$dir" && rm -rf "$work"
  fi
  echo "$dir"
}

fetch_gomod() {
  local module=${1%@*} version=${1#*@} root
  root=$(go_root) || return 1
  (cd "$3" && env -u GOFLAGS GOROOT="$root" GOTOOLCHAIN=local GOPATH="$deps/gopath" GOMODCACHE="$deps/gopath/mod" \
    "$root/bin/go" mod download -json "$module@$version" >&2) || return 1
  echo "$deps/gopath/mod/cache/download/$module/@v/$version.zip"
}

# unpack SOURCE FILE MEMBER LOCATOR DEST: puts MEMBER of the fetched file at DEST.
unpack() {
  local work
  work=$(mktemp -d "$deps/tmp.XXXXXX")
  case $1 in
    debian) dpkg-deb -x "$2" "$work" ;;
    pypi)   python3 -m zipfile -e "$2" "$work" ;;
    npm)    tar -xzf "$2" -C "$work" "$3" ;;
    gomod)
      local root
      root=$(go_root)
      env -u GOFLAGS GOROOT="$root" GOTOOLCHAIN=local GOPATH="$deps/gopath" GOMODCACHE="$deps/gopath/mod" \
        GOCACHE="$deps/gocache" GOBIN="$work" CGO_ENABLED=0 "$root/bin/go" install -trimpath "$4" >&2
      set -- "$1" "$2" nats-server "$4" "$5" ;;
  esac || { rm -rf "$work"; return 1; }
  rm -rf "$5"
  mv "$work/$3" "$5" && rm -rf "$work"
}

# fetch_locked TOOL VERSION DEST: the first source of lock.tsv that delivers the locked file.
# VERSION may be "any": then the first line of the tool decides.
fetch_locked() {
  local arch tool version row_arch source locator sha member file work tried=""
  arch=$(dpkg --print-architecture)
  while IFS=$'\t' read -r tool version row_arch source locator sha member; do
    case $tool in \#*|"") continue ;; esac
    [ "$tool" = "$1" ] || continue
    [ "$2" = any ] || [ "$version" = "$2" ] || continue
    [ "$row_arch" = "$arch" ] || [ "$row_arch" = any ] || continue
    case " ${CALLGATE_SKIP_SOURCES:-} " in *" $source "*) continue ;; esac
    echo "  $1 $version from $source ($locator)"
    work=$(mktemp -d "$deps/tmp.XXXXXX")
    if file=$("fetch_$source" "$locator" "$sha" "$work" 2>"$work/log") && [ -f "$file" ]; then
      if echo "$sha  $file" | sha256sum -c --quiet --status; then
        if unpack "$source" "$file" "$member" "$locator" "$3"; then
          [ ! -f "$3" ] || chmod 755 "$3"
          rm -rf "$work"
          return 0
        fi
        tried+=$'\n'"    $source $locator: fetched, but $member could not be unpacked or built"
      else
        tried+=$'\n'"    $source $locator: SHA-256 is not the locked $sha"
      fi
    else
      tried+=$'\n'"    $source $locator: $(grep -v '^$' "$work/log" | tail -n1)"
    fi
    rm -rf "$work"
  done < "$here/deps/lock.tsv"
  echo "no source of tools/deps/lock.tsv delivered $1 $2 for $arch:$tried" >&2
  return 1
}
