package arena

import (
	"errors"
	"maps"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// TestRuns: every allocated run is found once, by its head page, with its owner word, and nothing
// else.
func TestRuns(t *testing.T) {
	a := open(t, Config{})
	want := map[uint32]OwnerWord{}
	for word, order := range []int{0, 3, 1, MaxOrder, 0} {
		run := alloc(t, a, order, 0)
		if word > 0 { // the first one has no owner yet
			a.SetOwner(run.Page, int(run.Pages), OwnerWord(word))
		}
		want[run.Page] = OwnerWord(word)
	}
	gone := alloc(t, a, 2, 0)
	a.Free(gone.Page)
	if got := maps.Collect(a.Runs()); !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for range a.Runs() {
		break // must stop the walk
	}
	for page := range want {
		a.Free(page)
	}
}

// TestRunsLooksAtWhatWasCarved: on each node, pages that were never carved are not looked at,
// whatever their state says.
func TestRunsLooksAtWhatWasCarved(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1)})
	want := map[uint32]OwnerWord{}
	for i, order := range []int{0, MaxOrder} {
		run := alloc(t, a, order, a.zones[i].node)
		a.SetOwner(run.Page, int(run.Pages), 5)
		want[run.Page] = 5
	}
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		beyond := z.bump
		z.pages.mark(beyond, 0, used)
		z.mu.Unlock()
		defer z.pages.mark(beyond, 0, inner)
	}
	if got := maps.Collect(a.Runs()); !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for page := range want {
		a.Free(page)
	}
}

// TestAllocPages: the index is that of the topology, whatever the node's number, and errors name
// the number.
func TestAllocPages(t *testing.T) {
	topo := nodes(t, 3, 8)
	a := open(t, Config{Topology: topo, Limit: 4 * mem.PageSize})
	for i, node := range topo.Nodes() {
		run, err := a.AllocPages(1, i)
		if err != nil || run.Node != node || a.NodeIndex(a.Addr(run.Page)) != i {
			t.Errorf("index %d: %+v, %v; want node %d", i, run, err, node)
		}
		a.Free(run.Page)
	}
	_, err := a.AllocPages(1<<3, 1)
	_, same := a.Alloc(3, topo.Nodes()[1])
	if !errors.Is(err, ErrLimit) || err.Error() != same.Error() {
		t.Errorf("%v, but by node: %v", err, same)
	}
}
