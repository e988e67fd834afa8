package loops

import (
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// locals is a cache whose objects each thread allocates and frees by a slub.Local of its own.
type locals struct{ *cache }

func openLocal(s workload.Spec) (target, error) {
	c, err := openCache(s)
	return locals{c}, err
}

// localThread is one thread with its slub.Local; see loops_local.go.
type localThread struct {
	threadState[ref]
	local *slub.Local
}

func (c locals) worker(index int, sh *shared) (worker, error) {
	l, err := c.NewLocal(0)
	if err != nil {
		return worker{}, err
	}
	t := &localThread{threadState: newThread(c.spec, index, sh, &sh.refs), local: l}
	t.alloc = func(int, int) (ref, error) {
		p, err := l.Alloc()
		return refOf(p), err
	}
	t.take = func(r ref) uint64 {
		value := first(pointer(r))
		l.Free(pointer(r))
		return value
	}
	w, err := t.threadState.worker(workload.Local, t.fixedLoop())
	free := w.stop
	w.stop = func() {
		if free != nil {
			free()
		}
		l.Close()
	}
	return w, err
}
