# For scripts that start servers and stop them again; to be sourced. `start` waits for a server's ready line and sets `url` to where
# it answers; whatever was started ends with the script.
pipes=$(mktemp -d)
children=()
say() { echo "$*" >&2; }

tell() { [ ${#children[@]} -eq 0 ] || kill -TERM "${children[@]}" 2>/dev/null || true; }

stop() {
    trap - EXIT
    # Whoever asks once more tells them once more: else only this would end, and they go on unseen.
    trap tell INT TERM
    tell
    until wait; do :; done
    rm -rf "$pipes"
}
trap stop EXIT
trap 'stop; exit 0' INT TERM

# The ready lines of gateways pass through on stdout; all else is for people, on stderr.
start() { # name, command …
    local name=$1 line code=0
    shift
    mkfifo "$pipes/$name"
    # In a process group of its own: the terminal tells Ctrl-C to everybody in ours, and a server that is told to stop twice waits for nobody.
    set -m
    "$@" >"$pipes/$name" &
    set +m
    local process=$!
    children+=("$process")
    exec {lines}<"$pipes/$name"
    while IFS= read -r line <&"$lines"; do
        [[ $name != gateway* ]] || echo "$line"
        if [[ $line =~ \"ready\":\ ?true && $line =~ \"http\":\ ?\"(http://[^\"]+)\" ]]; then
            url=${BASH_REMATCH[1]}
            return
        fi
    done
    wait "$process" || code=$?
    say "the $name ended before it was ready (exit code $code)"
    exit "$((code ? code : 1))"
}

# Until one of them ends, or Ctrl-C.
wait_for_the_first() {
    local code=0
    wait -n "${children[@]}" || code=$?
    say "one of them ended (exit code $code); stopping the others"
    exit "$code"
}
