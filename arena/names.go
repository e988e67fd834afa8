package arena

import (
	"strconv"
	"sync"
)

// names are those of the open arenas.
var names = struct {
	mu    sync.Mutex // nothing is locked under it
	taken map[string]bool
}{taken: map[string]bool{}}

// takeName returns name, or one made from it if another open arena has it: metrics
// tell arenas by their names, and a series must stay one arena's.
func takeName(name string) string {
	names.mu.Lock()
	defer names.mu.Unlock()
	free := name
	for n := 2; names.taken[free]; n++ {
		free = name + "#" + strconv.Itoa(n)
	}
	names.taken[free] = true
	return free
}

func dropName(name string) {
	names.mu.Lock()
	defer names.mu.Unlock()
	delete(names.taken, name)
}
