#!/bin/sh
# Makes .venv with the locked dependencies and this project in it. `make` calls it when needed.
set -eu
cd "$(dirname "$0")"

# Settings of the caller's own environment that would send packages elsewhere.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_CONSTRAINT
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
  if new_enough "$name"; then python=$name; break; fi
done
if [ -z "$python" ]; then
  echo "setup: no Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3" >&2
  exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup: $python cannot make virtual environments; install $package (apt-get install $package)" >&2
    exit 1
  fi
  echo "setup: installing with apt-get: $package"
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1 </dev/null; then
    echo "setup: $package could not be installed: $(grep '^E: ' "$log" | head -n 1)" >&2
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! new_enough .venv/bin/python; then
  echo "setup: making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
echo "setup: installing the locked dependencies into .venv (takes a minute the first time)"
.venv/bin/python -m pip install -qq --require-hashes --only-binary :all: -r requirements.lock
.venv/bin/python -m pip install -qq --no-deps --no-build-isolation --no-index --editable .
