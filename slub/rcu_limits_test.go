package slub_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// quietDomain is a domain that reports no stalls.
func quietDomain() *rcu.Domain {
	d := new(rcu.Domain)
	d.OnStall(-1, nil)
	return d
}

// Behind a reader that never reports one FreeRCU waits, and none of those that come after it: what
// they free is queued and counted. When the reader reports, everything is destroyed once. The
// goroutine keeps to one CPU: a sheaf that is started before it is full gives back part of its
// charge, and the next call may wait again. For the same reason neither a timer nor the soft limit
// starts one.
func TestFreeRCUWaitsOnce(t *testing.T) {
	stay(t)
	withoutSamples(t) // sampled objects wait in the queue, not in sheaves
	const limit = mib / 4
	cfg := slub.Config{Size: 256, RCUHardLimit: limit, RCUSoftLimit: slub.Unlimited, RCUDelay: time.Hour}
	m := openDtorCounter(t, nil, cfg)
	r := register(t, m.Domain())
	const n = 8 * limit / 256
	freeRCU(m.Cache, take(t, m.Cache, n))
	s := m.Stats()
	if s.Backlog.Waits != 1 || s.Backlog.Overruns == 0 || s.Backlog.Bytes < n*256 || s.RCUObjects != n {
		t.Errorf("%+v, %d objects wait, want one wait, %d bytes of %d objects", s.Backlog, s.RCUObjects, n*256, n)
	}
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if d := m.Died.Load(); d != n {
		t.Errorf("%d of %d destroyed", d, n)
	}
	r = register(t, m.Domain())
	freeRCU(m.Cache, take(t, m.Cache, 2*limit/256))
	if w := m.Stats().Backlog.Waits; w != 2 {
		t.Errorf("%d waits, want another one when the limit blocks again", w)
	}
	_ = r.Close()
}

// FreeRCUContext waits for room while its context lasts, frees beyond the limit when that ends, and
// exceeds nothing when there is room.
func TestFreeRCUContext(t *testing.T) {
	withoutSamples(t) // sampled objects wait in the queue, not in sheaves
	d := quietDomain()
	a := newArena(t, arena.Config{Span: 64 * mib})
	cfg := slub.Config{Size: 256, Domain: d, RCUHardLimit: mib / 4, Flags: slub.NoSheaves}
	c := open(t, a, cfg)
	typed, err := slub.NewTyped[[32]uint64](a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	b := openBuckets(t, a, slub.BucketsConfig{Domain: d, RCUHardLimit: mib / 4})
	statsOf := func(c *slub.Cache) func() slub.BacklogStats {
		return func() slub.BacklogStats { return c.Stats().Backlog }
	}
	bucketsStats := func() slub.BacklogStats { return b.Stats().Backlog }
	for name, kind := range map[string]struct {
		alloc func() unsafe.Pointer
		free  func(context.Context, unsafe.Pointer)
		stats func() slub.BacklogStats
	}{
		"Cache": {func() unsafe.Pointer { return take(t, c, 1)[0] }, c.FreeRCUContext, statsOf(c)},
		"Typed": {func() unsafe.Pointer { return take(t, typed.Cache(), 1)[0] },
			func(ctx context.Context, p unsafe.Pointer) { typed.FreeRCUContext(ctx, (*[32]uint64)(p)) }, statsOf(typed.Cache())},
		"Buckets":     {func() unsafe.Pointer { return malloc(t, b, 30_000) }, b.FreeRCUContext, bucketsStats},
		"Buckets run": {func() unsafe.Pointer { return malloc(t, b, 130_000) }, b.FreeRCUContext, bucketsStats},
	} {
		t.Run(name, func(t *testing.T) {
			r := register(t, d)
			before := kind.stats()
			for range 2000 {
				if kind.stats().Overruns > before.Overruns {
					break
				}
				ended, cancel := context.WithCancel(context.Background())
				cancel()
				kind.free(ended, kind.alloc())
			}
			s := kind.stats()
			if s.Overruns != before.Overruns+1 {
				t.Fatalf("%d overruns where each context has ended, want one", s.Overruns-before.Overruns)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for kind.stats().Waits == s.Waits { // the CPU's sheaf may have room
					kind.free(context.Background(), kind.alloc())
				}
			}()
			within(t, "FreeRCUContext waits", func() bool { return kind.stats().Waits > s.Waits })
			select {
			case <-done:
				t.Error("it didn't wait for the reader")
			case <-time.After(20 * time.Millisecond):
			}
			_ = r.Close()
			<-done
			if over := kind.stats().Overruns - s.Overruns; over != 0 {
				t.Errorf("%d overruns after a wait for room", over)
			}
			same(t, "Barrier", errors.Join(c.Barrier(context.Background()), typed.Barrier(context.Background()), b.Barrier(context.Background())), nil)
		})
	}
}

// An allocation that fails because the arena is full of what waits for a reader says so: how much,
// of which cache, and which reader. One that fails for another reason doesn't.
func TestNoMemoryNamesTheReader(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 4 * mib, Span: 64 * mib})
	d := quietDomain()
	c := open(t, a, slub.Config{Name: "guilty", Size: 256, Domain: d, RCUMaxWait: slub.None})
	b := openBuckets(t, a, slub.BucketsConfig{Domain: d, RCUMaxWait: slub.None})
	if _, err := b.Malloc(8 * mib); !errors.Is(err, slub.ErrNoMemory) || strings.Contains(err.Error(), "grace period") {
		t.Errorf("while nothing waits: %v", err)
	}
	r := d.Register("stuck")
	defer r.Close()
	var err error
	for err == nil {
		var p unsafe.Pointer
		if p, err = c.Alloc(); err == nil {
			c.FreeRCU(p)
		}
	}
	for _, want := range []string{"bytes of the arena wait for grace periods", `backlog "guilty"`, `oldest reader is "stuck"`} {
		if !errors.Is(err, slub.ErrNoMemory) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrNoMemory with %q", err, want)
		}
	}
	for name, alloc := range map[string]func() error{
		"Malloc":    func() error { _, err := b.Malloc(8 * mib); return err },
		"AllocBulk": func() error { return c.AllocBulk(make([]unsafe.Pointer, 8*mib/256)) },
		"Prefill":   func() error { _, err := c.Prefill(3 * mib / 256); return err },
	} {
		if err := alloc(); err == nil || !strings.Contains(err.Error(), `oldest reader is "stuck"`) {
			t.Errorf("%s: %v, want the reader's name", name, err)
		}
	}
	if s := c.Stats().Backlog; s.Waits != 0 || s.Overruns == 0 {
		t.Errorf("with RCUMaxWait None: %+v", s)
	}
}

// Five caches with automatic limits together promise no more than the arena has: with WaitGrowing
// their writers are held up before an allocation fails.
func TestManyCachesAreHeldUp(t *testing.T) {
	const limit = 16 * mib
	a := newArena(t, arena.Config{Limit: limit, Span: 64 * mib})
	d := quietDomain()
	var all []*slub.Cache
	for i := range 5 {
		all = append(all, open(t, a, slub.Config{Size: int64(64 + 64*i), Domain: d, RCUMaxWait: slub.WaitGrowing}))
	}
	r := d.Register("stuck")
	defer r.Close()
	heldUp := func(c *slub.Cache) bool { return slub.BacklogOf(c).Waits > 0 }
	for someFree := true; someFree; {
		someFree = false
		for _, c := range all {
			for i := 0; i < 1000 && !heldUp(c); i++ {
				someFree = true
				p, err := c.Alloc()
				if err != nil {
					t.Fatalf("%s: %v, and FreeRCU was never held up: %+v", c.Name(), err, slub.BacklogOf(c))
				}
				c.FreeRCU(p)
			}
		}
	}
	for _, c := range all {
		if s := slub.BacklogOf(c); s.Hard != limit/4 || s.Bytes == 0 {
			t.Errorf("%s: %+v, want the share of the arena", c.Name(), s)
		}
	}
	// A sheaf whose grace period starts before it is full gives back part of its charge, and the
	// rounds that the waits have started may still do that.
	var bytes, pool int64
	within(t, "the sum of five caches is the arena's", func() bool {
		bytes, pool = 0, slub.BacklogOf(all[0]).PoolBytes
		for _, c := range all {
			bytes += slub.BacklogOf(c).Bytes
		}
		return bytes == pool
	})
	if bytes < limit/8 || bytes > limit/2 {
		t.Errorf("%d bytes wait, of a limit of %d", bytes, limit/4)
	}
}

// With many possible CPUs the automatic hard limit is the same part of the arena, and FreeRCU is
// held up before it is exhausted.
func TestPossibleCPUsDontRaiseLimits(t *testing.T) {
	const possible = "/sys/devices/system/cpu/possible"
	if os.Getenv("SLUBD_TEST_POSSIBLE") == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		fake := t.TempDir() + "/possible"
		if err := os.WriteFile(fake, []byte("0-127\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		mount := `mount --bind "$0" ` + possible + ` || { echo NO MOUNT; exit 0; }; exec "$@"`
		cmd := exec.Command(testutil.Need(t, "unshare", "util-linux"), "-m", "sh", "-c", mount, fake, exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), "SLUBD_TEST_POSSIBLE=128")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "NO MOUNT") || strings.Contains(string(out), "unshare failed") {
			testutil.NeedHost(t, "a mount namespace of its own", "util-linux", errors.New(string(out)))
		}
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("with 128 possible CPUs: %v\n%s", err, out)
		}
		return
	}
	if n := percpu.NumCPU(); n < 128 {
		t.Fatalf("%d possible CPUs, want 128", n)
	}
	const limit = 64 * mib
	a := newArena(t, arena.Config{Limit: limit, Span: 256 * mib})
	d := quietDomain()
	b := openBuckets(t, a, slub.BucketsConfig{Domain: d})
	c := open(t, a, slub.Config{Size: 64, Domain: d, RCUMaxWait: slub.WaitGrowing})
	for _, s := range []slub.BacklogStats{b.Stats().Backlog, c.Stats().Backlog} {
		if s.Hard != limit/4 {
			t.Errorf("the hard limit of an arena of %d bytes is %d", limit, s.Hard)
		}
	}
	r := d.Register("stuck")
	defer r.Close()
	for slub.BacklogOf(c).Waits == 0 { // Stats would add up the counters of 128 CPUs
		p, err := c.Alloc()
		if err != nil {
			t.Fatalf("%v, and FreeRCU was never held up: %+v", err, c.Stats().Backlog)
		}
		c.FreeRCU(p)
	}
}
