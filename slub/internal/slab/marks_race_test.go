package slab

import (
	"sync"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
)

// Goroutines claim an object and mark it as in use again and again, all at once. Each mark that
// says that it is in use is claimed by one of them, and each claim lets one of them mark it. Other
// goroutines do the same to the objects beside it, whose marks lie in the same word.
func TestMarksAtOnce(t *testing.T) {
	const size, goroutines, each = 64, 4, 1000
	for name, make := range map[string]func(*Config, *arena.Arena) error{
		"marks": func(c *Config, a *arena.Arena) (err error) { c.Marks, err = new(MarkTables).For(a, size); return err },
		"exts":  func(c *Config, a *arena.Arena) (err error) { c.Exts, err = new(ExtTables).For(a, size); return err },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Arena: newArena(t, arena.Config{})}
			if err := make(&cfg, cfg.Arena); err != nil {
				t.Fatal(err)
			}
			r := open(t, size, cfg)
			objs := r.take(2)
			for range testutil.Stress(t, 400_000) / each {
				var mu sync.Mutex
				claims := [2]int{}
				var all sync.WaitGroup
				for g := range goroutines {
					all.Go(func() {
						n := 0
						for range each {
							if r.Claim(objs[g%2], 0, Free) {
								n++
							}
							if r.SetInUse(objs[g%2]) {
								n--
							}
						}
						mu.Lock()
						claims[g%2] += n
						mu.Unlock()
					})
				}
				all.Wait()
				for i, p := range objs {
					inUse := 0
					if r.MarkOf(p, 0) == InUse {
						inUse = 1
					}
					if claims[i] != -inUse { // it was free before
						t.Fatalf("object %d: %d more claims than uses, and %d in use", i, claims[i], inUse)
					}
					r.SetFree(p)
				}
			}
			r.free(objs...)
		})
	}
}
