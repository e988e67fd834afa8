package metrics

import (
	"testing"

	"github.com/slubd/slubd/slub"
)

// kernelStats are the files of /sys/kernel/slab/<cache>/ that count events, in
// the order of the kernel's enum stat_item.
var kernelStats = [...]string{
	"alloc_fastpath", "alloc_slowpath",
	"free_rcu_sheaf", "free_rcu_sheaf_fail",
	"free_fastpath", "free_slowpath", "free_add_partial", "free_remove_partial",
	"alloc_slab", "alloc_node_mismatch", "free_slab", "order_fallback", "cmpxchg_double_fail",
	"sheaf_flush", "sheaf_refill", "sheaf_alloc", "sheaf_free",
	"barn_get", "barn_get_fail", "barn_put", "barn_put_fail",
	"sheaf_prefill_fast", "sheaf_prefill_slow", "sheaf_prefill_oversize",
	"sheaf_return_fast", "sheaf_return_slow",
}

func TestOneFamilyPerKernelStat(t *testing.T) {
	if len(kernelStats) != 26 || int(slub.NumEvents) != len(kernelStats) {
		t.Fatalf("%d stats in the kernel, %d events", len(kernelStats), slub.NumEvents)
	}
	c := newCache(t, nil, slub.Config{Name: "stats"})
	s := scrape(t, Config{Caches: only(c.Cache())})
	for i, file := range kernelStats {
		if e := slub.Event(i); e.String() != file {
			t.Errorf("event %d is called %s, in the kernel %s", i, e, file)
		}
		if slub.Event(i).Help() == "" {
			t.Errorf("%s has no help text", file)
		}
		if _, shown := s["slubd_cache_"+file+"_total{cache=stats}"]; !shown {
			t.Errorf("slubd_cache_%s_total is not shown", file)
		}
	}
}
