// A plain httputil.ReverseProxy with a round robin over its endpoints, and nothing else: no access log, no retry, no
// fallback. It is the yardstick of the benchmarks, so it does as little as it can.
package main

import (
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8888", "address to listen on")
	upstreams := flag.String("upstreams", "127.0.0.1:8000", "host:port of each endpoint, separated by commas")
	flag.Parse()

	endpoints := strings.Split(*upstreams, ",")
	var next uint64
	proxy := &httputil.ReverseProxy{
		Director: func(request *http.Request) {
			request.URL.Scheme = "http"
			request.URL.Host = endpoints[atomic.AddUint64(&next, 1)%uint64(len(endpoints))]
		},
		// Without these, Go keeps two idle connections per endpoint and asks for compressed replies.
		Transport:     &http.Transport{MaxIdleConns: 8192, MaxIdleConnsPerHost: 4096, DisableCompression: true},
		FlushInterval: -1,
	}
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
