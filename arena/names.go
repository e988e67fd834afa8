package arena

import (
	"slices"
	"sync"

	"github.com/slubd/slubd/internal/names"
)

// openNames are the names of the open arenas. Metrics tell arenas apart by their names, and a
// series must stay that of one arena.
var openNames struct {
	mu  sync.Mutex // a leaf: nothing is locked under it
	set names.Set[*Arena]
}

// addName gives the arena a name that no other open arena has.
func addName(a *Arena) {
	openNames.mu.Lock()
	defer openNames.mu.Unlock()
	a.cfg.Name = openNames.set.Add(a.cfg.Name, a)
}

// Find returns the open arena that an address lies in, in its range or one of its mappings, or nil.
// It looks at every open arena, and at every mapping of those that the address is not in. Any
// goroutine.
func Find(addr uintptr) *Arena {
	for _, a := range openArenas() {
		if !a.ready.Load() {
			continue // New is still under way
		}
		if _, ok := a.PageOf(addr); ok {
			return a
		}
		if start, _ := a.MappingAt(addr); start != 0 {
			return a
		}
	}
	return nil
}

// openArenas returns the open arenas, and those that New is still making.
func openArenas() []*Arena {
	openNames.mu.Lock()
	defer openNames.mu.Unlock()
	return slices.Collect(openNames.set.All())
}

// removeName lets other arenas have the name.
func removeName(a *Arena) {
	openNames.mu.Lock()
	defer openNames.mu.Unlock()
	openNames.set.Remove(a.cfg.Name, a)
}
