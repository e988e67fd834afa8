//go:build linux && !race

package metrics

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// rss adds up what the kernel says is resident of the mappings of this process that overlap any of
// the ranges.
func rss(t *testing.T, ranges [][2]uintptr) (bytes float64) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	testutil.NeedHost(t, "/proc/self/smaps", "linux-image-amd64", err)
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = false
			for _, r := range ranges {
				inside = inside || from < r[1] && to > r[0]
			}
			continue
		}
		var kb float64
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %f kB", &kb); n == 1 && inside {
			bytes += kb * 1024
		}
	}
	return bytes
}

// What the metrics call resident is what the kernel does, within 2 %: objects, large ones and
// mappings in use, and what was freed and not given back. In race builds arenas are Go heap memory.
func TestResidentIsWhatTheKernelSays(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "resident", Span: 1 << 30, MaxDirty: arena.Unlimited, Decay: arena.None})
	if err != nil {
		t.Fatal(err)
	}
	b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "resident"})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	ranges := [][2]uintptr{{a.Base(), a.Base() + uintptr(a.Span())}}
	take := func(n, count int) {
		for range count {
			p, err := b.Bytes(n)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < n; i += 4096 {
				p[i] = 1
			}
			p[n-1] = 1
			if n > 4<<20 { // a mapping of its own
				var addr uintptr
				if _, err := fmt.Sscan(fmt.Sprintf("%p", p), &addr); err != nil {
					t.Fatal(err)
				}
				ranges = append(ranges, [2]uintptr{addr, addr + uintptr(n)})
			}
			all = append(all, p)
		}
	}
	cfg := Config{Caches: only(b.Caches()...)}
	check := func(when string) {
		t.Helper()
		s := scrape(t, cfg)
		said := s.sum("slubd_resident_bytes", "arena=resident")
		said -= s.sum("slubd_resident_bytes", "class=page_map") // lies elsewhere
		if kernel := rss(t, ranges); said < kernel*0.98 || said > kernel*1.02 || kernel < 32<<20 {
			t.Errorf("%s: the metrics say %.0f bytes, the kernel %.0f", when, said, kernel)
		}
	}
	take(1000, 100_000)
	take(30_000, 400)
	take(2<<20, 8)
	take(5<<20, 4)
	check("in use")
	for i := 0; i < len(all); i += 2 {
		b.FreeBytes(all[i])
	}
	b.Shrink() // also gives back what is free
	// Objects that lie in sheaves and were never handed out have pages that were never touched.
	check("half of it freed and given back")
	for i := 1; i < len(all); i += 2 {
		b.FreeBytes(all[i])
	}
	if err := errors.Join(b.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}
