package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub"
)

// BenchmarkScrape shows what a scrape of a daemon with many caches costs, whose caches every CPU
// has used: to read them, to write them as text, with compression and without, and by the client
// of Prometheus. The number of CPUs is that of the kernel's list, so a longer list stands for a
// larger machine:
//
//	go test -c -o /tmp/metrics.test ./metrics && echo 0-127 > /tmp/possible
//	unshare -m sh -c 'mount --bind /tmp/possible /sys/devices/system/cpu/possible &&
//		/tmp/metrics.test -test.run ^$ -test.bench Scrape'
func BenchmarkScrape(b *testing.B) {
	defer percpu.MarkAll()()
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("cpus=%d/caches=%d", percpu.NumCPU(), n), func(b *testing.B) {
			var caches []*slub.Cache
			for i := range n {
				c, err := slub.New(nil, slub.Config{Name: fmt.Sprintf("scraped-%d", i), Size: 64})
				if err != nil {
					b.Fatal(err)
				}
				p, err := c.Alloc()
				if err != nil {
					b.Fatal(err)
				}
				c.Free(p)
				caches = append(caches, c)
			}
			cfg := Config{Caches: only(caches...)}
			b.Run("stats", func(b *testing.B) {
				for b.Loop() {
					observe(cfg.Caches(), false)
				}
			})
			h := NewHandler(cfg)
			for _, encoding := range []string{"", "gzip"} {
				b.Run("text"+encoding, func(b *testing.B) {
					b.ReportAllocs()
					r := httptest.NewRequest("GET", "/metrics", nil)
					r.Header.Set("Accept-Encoding", encoding)
					for b.Loop() {
						w := discard{http.Header{}}
						h.ServeHTTP(w, r)
					}
				})
			}
			r := prometheus.NewRegistry()
			r.MustRegister(NewCollector(cfg))
			b.Run("client", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(discard{http.Header{}}, httptest.NewRequest("GET", "/metrics", nil))
				}
			})
			for _, c := range caches {
				if err := c.Close(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}

// discard is a client that reads as fast as it is written to.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
