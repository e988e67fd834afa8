package arena

import (
	"testing"

	"github.com/slubd/slubd/internal/owner"
)

// The pages of a run that was split have heads of their own, and are freed one by one; what is free
// then is one block again.
func TestSplit(t *testing.T) {
	a, err := New(Config{Name: "split"})
	if err != nil {
		t.Fatal(err)
	}
	const pages = 64
	run, err := a.AllocPages(pages, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.Split(run)
	for page := run.Page; page < run.Page+pages; page++ {
		if head, n, ok := a.Head(page); head != page || n != 1 || !ok {
			t.Fatalf("page %d: head %d of %d pages, %v", page, head, n, ok)
		}
		a.SetOwner(page, 1, owner.Of(page-run.Page+1, 0))
	}
	if got := a.Stats().Nodes[0].Runs; got != pages {
		t.Errorf("%d runs, want %d", got, pages)
	}
	for i := range uint32(pages) {
		page := run.Page + i*37%pages
		if got := a.Owner(page).ID(); got != page-run.Page+1 {
			t.Fatalf("page %d has owner %d", page, got)
		}
		if err := a.Close(); err == nil {
			t.Fatal("the arena closes with pages in use")
		}
		a.Free(page)
	}
	again, err := a.AllocPages(pages, 0)
	if err != nil || again.Page != run.Page {
		t.Errorf("the next run begins at page %d, want %d: %v", again.Page, run.Page, err)
	}
	a.Free(again.Page)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
