# shellcheck shell=bash
# python_of MINOR, such as 3.12: prints an interpreter of it, known to work because it ran; fails if there is none.
# Looks in .venv of the working folder, on PATH, and among what pyenv has installed.
python_of() {
  local candidate
  for candidate in .venv/bin/python "python$1" "$(pyenv root 2>/dev/null)/versions/$1".*/bin/python; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}
