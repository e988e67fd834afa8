package trace_test

import (
	"bytes"
	"fmt"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
)

// A daemon gives Hooks to its caches and Buckets and a file to New. Here two events stand for it.
func Example() {
	var file bytes.Buffer
	r, err := trace.New(&file, trace.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := r.Hooks() // for slub.BucketsConfig.Hooks
	object := hooks.Object{Cache: "sessions-64", Addr: 0xc000, Size: 64}
	h.Alloc(object)
	h.Free(object)
	if err := r.Close(); err != nil {
		fmt.Println(err)
	}
	t, err := trace.Read(&file, trace.Limits{})
	fmt.Println(t.Events, t.Objects, t.Peak, err)
	// Output: [{0 64} {0 0}] 1 64 <nil>
}
