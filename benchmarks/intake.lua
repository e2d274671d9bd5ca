-- wrk's side of benchmarks/intake.py. Arguments: the path, a prefix of 12 hex digits new for each run, the token.
-- `/hello` is fetched; anything else is posted to, with an operation never seen before in each request.
local path, prefix, headers
local number = 0

function init(args)
  path, prefix = args[1], args[2]
  headers = { ["Authorization"] = "Bearer " .. args[3], ["Content-Type"] = "application/json" }
end

function request()
  if path == "/hello" then
    return wrk.format("GET", path)
  end
  number = number + 1
  local url = "https://api.osc-fr1.scalingo.com/v1/apps/shop/operations/" .. prefix .. string.format("%012x", number)
  local body = '{"operation_url": "' .. url
    .. '", "context": {"environment": "production", "actor": "jane", "commit": "4f2a9c1"}}'
  return wrk.format("POST", path, headers, body)
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('RESULT {"requests": %d, "duration_us": %d, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
