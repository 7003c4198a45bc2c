-- wrk with another caller's header line on each request, and a line of JSON at the end.
local requests, turn = {}, 0

function init(arguments)
    local file = arguments[1]
    if file then
        for line in io.lines(file) do
            local name, value = line:match("^([^:]+): (.*)$")
            requests[#requests + 1] = wrk.format("GET", nil, { [name] = value })
        end
    else
        requests[1] = wrk.format("GET")
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end

function done(summary, latency)
    local errors = summary.errors
    local all = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    local text = '{"requests": %d, "errors": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d}\n'
    io.write(text:format(summary.requests, all, summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
