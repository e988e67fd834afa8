package arena

import (
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// A run has the pages that were asked for, and the rest of its block serves other runs.
func TestRunsOfAnyNumberOfPages(t *testing.T) {
	a := open(t, Config{Span: 16 * mib})
	for pages := 1; pages <= 1<<MaxOrder; pages += 1 + pages/11 {
		run, err := a.AllocPages(pages, 0)
		if err != nil {
			t.Fatal(err)
		}
		if int(run.Pages) != pages || a.InUse() != int64(pages)*mem.PageSize || a.Stats().Nodes[0].Used != a.InUse() {
			t.Errorf("%d pages: %+v, %d bytes in use", pages, run, a.InUse())
		}
		a.SetOwner(run.Page, pages, 7)
		end := run.Page + run.Pages
		for page := run.Page; page < end; page++ {
			if head, n, ok := a.Head(page); head != run.Page || n != pages || !ok || a.Owner(page) != 7 {
				t.Fatalf("page %d of %+v: head %d, %d pages, %v", page, run, head, n, ok)
			}
		}
		if rest := uint32(1)<<run.Order - run.Pages; rest > 0 {
			next, err := a.AllocPages(int(rest&-rest), 0)
			if err != nil || next.Page != end {
				t.Errorf("the rest of %+v is not handed out: %+v, %v", run, next, err)
			}
			if a.Owner(next.Page) != 0 {
				t.Errorf("page %d behind %+v has owner %d", next.Page, run, a.Owner(next.Page))
			}
			check(a)
			a.Free(next.Page)
		}
		a.Free(run.Page)
		check(a)
		a.Purge(0) // so that the next rest is the smallest block
	}
	for _, pages := range []int{-1, 0, 1<<MaxOrder + 1} {
		if _, err := a.AllocPages(pages, 0); err == nil {
			t.Errorf("a run of %d pages", pages)
		}
	}
}

// A run that is allocated and freed again and again finds its own pages, although the rest of its
// block was never used; and no more than its block counts as resident.
func TestRunFindsItsPagesAgain(t *testing.T) {
	a := open(t, Config{Span: 16 * mib})
	first, err := a.AllocPages(26, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.Free(first.Page)
	for range 3 {
		run, err := a.AllocPages(26, 0)
		if err != nil || run.Page != first.Page || run.Zero {
			t.Errorf("%+v after %+v: %v", run, first, err)
		}
		a.Free(run.Page)
	}
	if free := a.Stats().Nodes[0].Free; free != 32*mem.PageSize {
		t.Errorf("%d bytes are free and perhaps resident", free)
	}
	check(a)
}

// At the limit the rest of a block is not charged: what a Free leaves may never exceed it.
func TestRestIsNotChargedBeyondLimit(t *testing.T) {
	a := open(t, Config{Span: 16 * mib, Limit: 26 * mem.PageSize})
	run, err := a.AllocPages(26, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.purging.Lock() // so that Free doesn't discard what is beyond the limit
	a.Free(run.Page)
	charged, _ := a.ledger.load()
	a.purging.Unlock()
	if charged > 26 {
		t.Errorf("%d pages are charged, the limit is 26", charged)
	}
	check(a)
}

// What is dirty counts as committed. So runs of arenas that commit have whole blocks.
func TestCommittedRunsAreWholeBlocks(t *testing.T) {
	a := open(t, Config{Span: 16 * mib, Populate: true})
	run, err := a.AllocPages(5, 0)
	if err != nil || run.Pages != 8 {
		t.Fatalf("%+v, %v", run, err)
	}
	a.Free(run.Page)
}
