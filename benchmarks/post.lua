-- wrk's script: POST one fixed JSON body (read from the file named after "--"), print the totals as one line of JSON.
-- With a second argument "new", each request has an id of its own in its head.
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["User-Agent"] = "bench/1.0"
  wrk.headers["Accept"] = "application/json"
  file:close()
  if args[2] == "new" then
    local count = 0
    request = function()
      count = count + 1
      wrk.headers["X-Request-ID"] = string.format("bench-%012d", count)
      return wrk.format()
    end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
