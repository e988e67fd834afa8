package debugpage

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/slubd/slubd/internal/frames"
	"github.com/slubd/slubd/slub"
)

// maxSites is how many call sites the page has, those that hold the most.
const maxSites = 15

// profileRows are the top call sites of the allocation profile.
type profileRows struct {
	Rate, Dropped int64 // Rate 0: only caches with a rate of their own are sampled
	InUseBytes    int64 // of all sites
	Sites         []siteRow
}

// A siteRow is a call site with what it has allocated from one cache, on all nodes.
type siteRow struct {
	Function, Place, Cache string
	InUseBytes, InUse      int64
	AllocBytes             int64
}

func readProfile() profileRows {
	p := profileRows{Rate: slub.ProfileRate(), Dropped: slub.ProfileDropped()}
	sums := map[siteRow]*siteRow{}
	for _, r := range slub.ReadProfile() {
		function, place := caller(r.Stack)
		key := siteRow{Function: function, Place: place, Cache: r.Cache}
		sum := sums[key]
		if sum == nil {
			sum = &siteRow{Function: function, Place: place, Cache: r.Cache}
			sums[key] = sum
		}
		sum.InUseBytes += r.InUseBytes
		sum.InUse += r.InUseObjects
		sum.AllocBytes += r.AllocBytes
		p.InUseBytes += r.InUseBytes
	}
	for _, s := range sums {
		p.Sites = append(p.Sites, *s)
	}
	slices.SortFunc(p.Sites, func(a, b siteRow) int {
		return cmp.Or(cmp.Compare(b.InUseBytes, a.InUseBytes), cmp.Compare(b.AllocBytes, a.AllocBytes), cmp.Compare(a.Place, b.Place), cmp.Compare(a.Cache, b.Cache))
	})
	p.Sites = p.Sites[:min(len(p.Sites), maxSites)]
	return p
}

// caller returns the first function of a stack that is not of package slub or below it, without the
// path of its package, and its place in two elements of the file's path.
func caller(stack []uintptr) (function, place string) {
	if len(stack) == 0 {
		return "(more call sites than the profile has room for)", ""
	}
	rest := runtime.CallersFrames(stack)
	for more := true; more; {
		var f runtime.Frame
		f, more = rest.Next()
		function, place = path.Base(f.Function), fmt.Sprintf("%s/%s:%d", path.Base(path.Dir(f.File)), path.Base(f.File), f.Line)
		if !internal(f.Function) {
			break
		}
	}
	return function, place
}

// internal reports whether a function belongs to the allocator, or to rcumap, whose caller says
// more.
func internal(function string) bool {
	return frames.Own(function) || strings.HasPrefix(function, "github.com/slubd/slubd/slub/rcumap.")
}
