package slubtest_test

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/slubtest"
)

// A fake is a test that may fail.
type fake struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (f *fake) Helper()          {}
func (f *fake) Cleanup(g func()) { f.cleanups = append(f.cleanups, g) }
func (f *fake) Errorf(format string, args ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fake) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// end ends the test, and returns what it has said.
func (f *fake) end() string {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	return strings.Join(f.failures, "\n")
}

// says fails the test unless what a fake has said matches the pattern, or is empty for "".
func says(t *testing.T, got, pattern string) {
	t.Helper()
	if pattern == "" && got != "" || !regexp.MustCompile("(?s)"+pattern).MatchString(got) {
		t.Errorf("the test says %q, want %q", got, pattern)
	}
}

//go:noinline
func leak(t *testing.T, alloc func() (unsafe.Pointer, error)) unsafe.Pointer {
	p, err := alloc()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCache(t *testing.T, cfg slub.Config) *slub.Cache {
	t.Helper()
	c, err := slub.New(nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// closed closes a cache without a leak.
func closed(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Without sources NoLeaks finds leaks of all caches that the test has made, however small their
// objects are, and names their stacks, also when Close has failed.
func TestNoLeaks(t *testing.T) {
	old := newCache(t, slub.Config{Name: "made-before", Size: 64})
	kept := leak(t, old.Alloc)
	f := new(fake)
	slubtest.NoLeaks(f)
	c := newCache(t, slub.Config{Name: "made-after", Size: 8})
	var objs []unsafe.Pointer
	for range 1000 {
		objs = append(objs, leak(t, c.Alloc))
	}
	c.FreeBulk(objs[3:])
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "leaky"})
	if err != nil {
		t.Fatal(err)
	}
	large := leak(t, func() (unsafe.Pointer, error) { return b.Malloc(2 << 20) })
	if c.Close() == nil {
		t.Error("Close finds no leak")
	}
	got := f.end()
	says(t, got, `made-after: objects in use at the end of the test: 3\n`+
		`3 of 8 bytes, cache "made-after", \[0x\w+ 0x\w+ 0x\w+\], allocated by\n`+
		`\t\S+slubtest_test\.leak\n\t\t\S+noleaks_test\.go:\d+\n\t\S+\.TestNoLeaks\n`)
	says(t, got, `leaky: objects in use at the end of the test: 1\n`+
		`1 of 2097152 bytes, cache "leaky-large", .*slubtest_test\.leak\n`)
	for _, bad := range []string{"not sampled", "made-before", "testing.tRunner"} {
		if strings.Contains(got, bad) {
			t.Errorf("the test says %q", got)
		}
	}
	c.FreeBulk(objs[:3])
	b.Free(large)
	closed(t, c)
	closed(t, b)
	old.Free(kept)
	closed(t, old)
}

// With sources NoLeaks looks at these, and at what was allocated since. What waits for a grace
// period is no leak.
func TestNoLeaksOf(t *testing.T) {
	domain := new(rcu.Domain)
	c := newCache(t, slub.Config{Name: "given", Size: 64, Domain: domain})
	before := leak(t, c.Alloc)
	f := new(fake)
	slubtest.NoLeaks(f, c)
	c.FreeRCU(leak(t, c.Alloc))
	c.Free(leak(t, c.Alloc))
	says(t, f.end(), "")

	f = new(fake)
	slubtest.NoLeaks(f, c)
	p := leak(t, c.Alloc)
	says(t, f.end(), `given: objects in use at the end of the test: 1\n`+
		`1 of 64 bytes, cache "given", \[0x\w+\], was not sampled$`)
	c.Free(p)
	c.Free(before)
	closed(t, c)

	f = new(fake)
	slubtest.NoLeaks(f, c)
	says(t, f.end(), "")
}

// NoLeaks without sources finds what slub.Malloc and its relatives have allocated meanwhile. The
// default Buckets, which outlive the test, don't begin to sample every object: in a process of its
// own, where NoLeaks makes them.
func TestNoLeaksOfMalloc(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	f := new(fake)
	slubtest.NoLeaks(f)
	p := leak(t, func() (unsafe.Pointer, error) { return slub.Malloc(100) })
	large := leak(t, func() (unsafe.Pointer, error) { return slub.Malloc(2 << 20) })
	if o, ok := slub.Owner(p); !ok {
		t.Error("no owner")
	} else if _, sampled := o.Sampled(); sampled && slub.ProfileRate() == 0 {
		t.Error("an object of the default Buckets is sampled")
	}
	got := f.end()
	says(t, got, `malloc: objects in use at the end of the test: 2\n`)
	says(t, got, fmt.Sprintf(`1 of 112 bytes, cache "malloc-112", \[%#x\]`, uintptr(p)))
	says(t, got, fmt.Sprintf(`1 of 2097152 bytes, cache "malloc-large", \[%#x\]`, uintptr(large)))
	slub.Free(large)

	f = new(fake)
	slubtest.NoLeaks(f) // p is no leak of this one's
	slub.Free(leak(t, func() (unsafe.Pointer, error) { return slub.Malloc(100) }))
	says(t, f.end(), "")
	slub.Free(p)
}

// What waits for a grace period at the call is not in use before, though its memory is that of a
// leak later.
func TestNoLeaksWhereOthersWaited(t *testing.T) {
	const n = 200
	c := newCache(t, slub.Config{Name: "reused", Size: 64, Domain: new(rcu.Domain)})
	var objs []unsafe.Pointer
	for range n {
		objs = append(objs, leak(t, c.Alloc))
	}
	for _, p := range objs {
		c.FreeRCU(p)
	}
	f := new(fake)
	slubtest.NoLeaks(f, c)
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	objs = objs[:0]
	for range n {
		objs = append(objs, leak(t, c.Alloc))
	}
	says(t, f.end(), `reused: objects in use at the end of the test: 200\n`)
	c.FreeBulk(objs)
	closed(t, c)
}

// A stuck is a source whose Barrier notes until when it may wait.
type stuck struct{ until []time.Time }

func (*stuck) Name() string                    { return "stuck" }
func (*stuck) Live() iter.Seq[slub.LiveObject] { return func(func(slub.LiveObject) bool) {} }
func (s *stuck) Barrier(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	s.until = append(s.until, deadline)
	return context.DeadlineExceeded
}

// All sources have one deadline together, and what waits for too long fails the test.
func TestNoLeaksHasOneDeadline(t *testing.T) {
	f, s := new(fake), new(stuck)
	slubtest.NoLeaks(f, s, s, s)
	says(t, f.end(), `stuck: what waits for readers is not free: context deadline exceeded`)
	if u := s.until; len(u) != 6 || len(f.failures) != 6 || u[0] != u[2] || u[3] != u[5] {
		t.Errorf("waits until %v; %d failures", u, len(f.failures))
	}
}

// After the test caches sample what their config says again.
func TestNoLeaksEnds(t *testing.T) {
	f := new(fake)
	slubtest.NoLeaks(f)
	f.end()
	c := newCache(t, slub.Config{Name: "made-later", Size: 64, ProfileRate: slub.None})
	d := newCache(t, slub.Config{Name: "made-later-automatic", Size: 64})
	for _, c := range []*slub.Cache{c, d} {
		p := leak(t, c.Alloc)
		if o, ok := slub.Owner(p); ok {
			if _, sampled := o.Sampled(); sampled && slub.ProfileRate() == 0 {
				t.Errorf("an object of %q is sampled", c.Name())
			}
		}
		c.Free(p)
		closed(t, c)
	}
}
