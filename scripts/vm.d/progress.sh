# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# What a long step is at: on a terminal one line that is renewed, elsewhere a line every ten seconds. And how long
# each step took.

progress_pid='' progress=yes steps=() first_run=no
progress_seconds=10

# start_progress COMMAND...: until stop_progress, what COMMAND prints, with the seconds since now as its last argument, is
# shown with them. Not with --verbose, where the step's own output is.
start_progress() {
  local self=$BASHPID # in the command below it would be that of the new process
  [[ $verbose == no && $progress == yes ]] || return 0
  show_progress "$self" "$@" >/dev/null &
  progress_pid=$!
}

# For steps of which nothing else is known.
say_at() { printf '%s' "$1"; }

stop_progress() {
  [[ -n $progress_pid ]] || return 0
  { kill -TERM "$progress_pid" && wait "$progress_pid"; } 2>/dev/null || true
  progress_pid=
  clear_progress_line
}

clear_progress_line() {
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}

# In the background: ends by itself when its parent does, within a second. 'sleep' would be a process that outlives it.
show_progress() {
  local parent=$1 seconds=0 every=$progress_seconds silence text columns=''
  shift
  if [[ -t 2 ]]; then
    every=1
    columns=$(stty size <&2 | cut -d ' ' -f 2)
    [[ $columns != 0 ]] || columns=80 # a terminal that nobody gave a size
  fi
  exec {silence}<> <(:)
  while true; do
    read -rt 1 -u "$silence" _ || true
    kill -0 "$parent" 2>/dev/null || return 0
    seconds=$((seconds + 1))
    ((seconds % every == 0)) || continue
    text="vm: $("$@" "$seconds") ($seconds s)" || continue
    if [[ -n $columns ]]; then
      printf '\r\033[K%s' "${text:0:columns}" >&2
    else
      printf '%s\n' "$text" >&2
    fi
  done
}

# Sets the variable $1 to the CPU time of this shell's children that have ended, in hundredths of a second.
read_children_cpu() {
  local name=$1 line
  read -r line <"/proc/$BASHPID/stat"
  # shellcheck disable=SC2086 # words
  set -- ${line##*) }
  printf -v "$name" '%s' $((${14} + ${15}))
}

# step NAME COMMAND...: runs it in this shell and notes what it took.
step() {
  local name=$1 start_us=${EPOCHREALTIME//[.,]/} start_cpu
  read_children_cpu start_cpu
  shift
  "$@"
  note_step "$name" "$start_us" "$start_cpu"
}

note_step() {
  local cpu
  read_children_cpu cpu
  steps+=("$1 $(((${EPOCHREALTIME//[.,]/} - $2) / 1000000)) s (CPU $(((cpu - $3) / 100)) s)")
}

print_steps() {
  local line
  [[ ${#steps[@]} -gt 0 && ($first_run == yes || $verbose == yes) ]] || return 0
  line=$(printf ', %s' "${steps[@]}")
  say "time: ${line:2}"
}
