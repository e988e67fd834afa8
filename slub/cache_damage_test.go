package slub

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
)

// openDamaged makes a cache whose slabs don't all go back, in an arena that stays open, and notes
// its reports. The test is a process of its own.
func openDamaged(t *testing.T, cfg Config) *reportRecorder {
	t.Helper()
	a, err := arena.New(ofOneNode(t, arena.Config{Span: 32 * mib}))
	if err != nil {
		t.Fatal(err)
	}
	withoutSamples(t) // the test frees objects twice
	tt := new(reportRecorder)
	cfg.Name, cfg.Size, cfg.SheafCapacity = "broken", 64, 8
	cfg.Hooks.Report = func(r *hooks.Report) { tt.Reports = append(tt.Reports, r) }
	tt.Cache, err = New(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// Close after a double free says which object was freed twice, by an error that wraps the report,
// and not that the others leak. It says so again, and the slab's pages stay: the object that is
// still in use keeps its content.
func TestCloseAfterDoubleFree(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	stay(t)
	for name, flags := range map[string]Flags{"sheaves": 0, "NoSheaves": NoSheaves, "TypesafeByRCU": TypesafeByRCU} {
		c := openDamaged(t, Config{Flags: flags})
		ps := take(t, c.Cache, 4*c.perSlab)
		held, twice := ps[0], ps[1]
		paint(held, 64, 0x5a)
		for _, p := range ps[1:3] {
			c.Free(p)
			c.Shrink()
		}
		c.slabs.Free(twice) // as a sheaf that has it a second time
		freeAll(c.Cache, ps[3:])
		err := c.Close()
		var r *hooks.Report
		if !errors.Is(err, ErrBusy) || !errors.As(err, &r) || r.Kind != hooks.DoubleFree || r.Addr != uintptr(twice) ||
			!strings.HasPrefix(r.Cache, "broken") || r.Slab != slabOf(c.Cache, held) || strings.Contains(err.Error(), "of 64 bytes") {
			t.Fatalf("%s: Close: %v", name, err)
		}
		if len(c.Reports) != 1 || c.Reports[0] != r {
			t.Errorf("%s: reported: %v, Close has %v", name, c.Reports, r)
		}
		if again := c.Close(); again == nil || again.Error() != err.Error() || len(c.Reports) != 1 {
			t.Errorf("%s: Close: %v, then %v; reports: %v", name, err, again, c.Reports)
		}
		if n := c.Stats().IsolatedSlabs; n != 1 {
			t.Errorf("%s: %d slabs are isolated", name, n)
		}
		// Another cache gets the arena's pages.
		other := open(t, c.Arena(), Config{Name: "other", Size: 64, Flags: NoSheaves})
		theirs := take(t, other, 4*other.perSlab)
		for _, p := range theirs {
			paint(p, 64, 0xff)
		}
		if !painted(held, 64, 0x5a) {
			t.Errorf("%s: the object in use has been overwritten", name)
		}
		freeAll(other, theirs)
		if c.Free(held); len(c.Reports) != 1 {
			t.Errorf("%s: the free of the object in use: %v", name, c.Reports)
		}
	}
}

// The chain of a slab may be damaged and no operation may have met that. Close finds it, and names
// what leaks beside it. Without a Report hook it doesn't panic.
func TestCloseFindsDamage(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	for _, hook := range []bool{true, false} {
		c := openDamaged(t, Config{Flags: NoSheaves})
		ps := take(t, c.Cache, 2*c.perSlab)
		twice, leaked := ps[1], ps[len(ps)-1]
		c.Free(twice)
		c.Free(ps[2])
		c.slabs.Free(twice)
		freeAll(c.Cache, ps[c.perSlab:len(ps)-1])
		if !hook {
			setHooks(t, c.Cache, hooks.Hooks{})
		}
		err := c.Close()
		var r *hooks.Report
		if !errors.As(err, &r) || r.Addr != uintptr(twice) || !strings.Contains(err.Error(), "1 object of 64 bytes: "+fmt.Sprintf("%#x", leaked)) {
			t.Errorf("Close: %v, want one about %p, which was freed twice, and %p, which leaks", err, twice, leaked)
		}
		if len(c.Reports) != map[bool]int{true: 1}[hook] {
			t.Errorf("reported: %v", c.Reports)
		}
	}
}
