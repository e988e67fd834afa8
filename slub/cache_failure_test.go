package slub_test

import (
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub"
)

// Each failed allocation is counted under the reason that its error names.
func TestFailuresByReason(t *testing.T) {
	limited, err := arena.New(arena.Config{Name: "limited", Limit: 4096})
	if err != nil {
		t.Fatal(err)
	}
	group, err := slub.NewGroup(slub.GroupConfig{Name: "small", Limit: 4096})
	if err != nil {
		t.Fatal(err)
	}
	want := map[slub.FailureReason]uint64{}
	check := func(what string, s slub.Stats) {
		t.Helper()
		var sum uint64
		for r, n := range s.Failures {
			if sum += n; n != want[slub.FailureReason(r)] {
				t.Errorf("%s: %d failures for %v, want %d", what, n, slub.FailureReason(r), want[slub.FailureReason(r)])
			}
		}
		if what != "closed" && sum != s.AllocFailures { // Close frees the counter of all
			t.Errorf("%s: %d failures by reason, %d in all", what, sum, s.AllocFailures)
		}
		clear(want)
	}
	const size = 64 << 10

	c, err := slub.New(limited, slub.Config{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Alloc(); err == nil {
			t.Fatal("64 KiB of an arena with 4")
		}
	}
	if _, err := c.Prefill(1 << 40); err == nil {
		t.Fatal("a prefill of 2^40 objects")
	}
	want[slub.FailedLimit], want[slub.FailedTooLarge] = 2, 1
	check("limit", c.Stats())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Alloc(); err == nil {
		t.Fatal("an object of a closed cache")
	}
	want[slub.FailedLimit], want[slub.FailedTooLarge], want[slub.FailedClosed] = 2, 1, 1
	check("closed", c.Stats())

	c, err = slub.New(nil, slub.Config{Size: size, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Alloc(); err == nil {
		t.Fatal("64 KiB of a group with 4")
	}
	want[slub.FailedGroupLimit] = 1
	check("group", c.Stats())

	b, err := slub.NewBuckets(limited, slub.BucketsConfig{Name: "large"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Malloc(2 << 20); err == nil {
		t.Fatal("2 MiB of an arena with 4 KiB")
	}
	if n := b.LargeStats().Failures; n[slub.FailedLimit] != 1 {
		t.Errorf("a large object: %v", n)
	}
	for _, close := range []func() error{c.Close, group.Close, b.Close, limited.Close} {
		if err := close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFailureReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range slub.NumFailureReasons + 1 {
		if name := r.String(); name == "" || seen[name] {
			t.Errorf("reason %d is %q", r, name)
		} else {
			seen[name] = true
		}
	}
}
