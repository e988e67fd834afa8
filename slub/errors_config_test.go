package slub_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// badConfigs has for each field of Config what may be wrong with it, and what Validate then says
// behind the field's name.
var badConfigs = map[string][]struct {
	cfg  slub.Config
	says string
}{
	"Name":          {{slub.Config{Name: "no blanks"}, `"no blanks": want 1 to 64 letters, digits and _-.:/`}},
	"Size":          {{slub.Config{Size: 4*mib + 1}, "4194305 is not within 1..4194304 bytes"}, {slub.Config{Size: -1}, "-1 is not within 1..4194304 bytes"}},
	"Align":         {{slub.Config{Align: -8}, "-8 is no power of two up to 4096"}, {slub.Config{Align: 24}, "24 is no power of two up to 4096"}, {slub.Config{Align: 2 * mem.PageSize}, "8192 is no power of two up to 4096"}},
	"Ctor":          {{slub.Config{Ctor: func(unsafe.Pointer) {}, Flags: slub.InitOnFree}, "the flags InitOnAlloc and InitOnFree would undo its work"}},
	"RCUDtor":       {{slub.Config{RCUDtor: func(unsafe.Pointer) {}, Flags: slub.NoSheaves}, "needs sheaves, which the flag NoSheaves switches off"}},
	"FreePtrOffset": {{slub.Config{FreePtrOffset: slub.At(4)}, "4 is no multiple of 8 within the object's 64 bytes"}, {slub.Config{Size: 1, FreePtrOffset: slub.At(8)}, "8 is no multiple of 8 within the object's 1 byte"}},
	"SheafCapacity": {{slub.Config{SheafCapacity: -1}, "-1 is not within 0..32767 objects"}},
	"BarnFull":      {{slub.Config{BarnFull: -2}, "-2 sheaves are not within 0..2147483647; None keeps none"}},
	"BarnEmpty":     {{slub.Config{BarnEmpty: 1 << 31}, "2147483648 sheaves are not within 0..2147483647; None keeps none"}},
	"MinPartial":    {{slub.Config{MinPartial: -2}, "-2 is negative; None keeps none"}},
	"RemoteDefragRatio": {
		{slub.Config{RemoteDefragRatio: -2}, "-2 is not within 0..100; None never looks"},
		{slub.Config{RemoteDefragRatio: 101}, "101 is not within 0..100; None never looks"},
	},
	"Slabs": {
		{slub.Config{Slabs: slub.SlabLimits{MinOrder: -1}}, ".MinOrder: -1 is not within 0..10"},
		{slub.Config{Slabs: slub.SlabLimits{MaxOrder: 11}}, ".MaxOrder: 11 is not within 0..10"},
		{slub.Config{Slabs: slub.SlabLimits{MinOrder: 5, MaxOrder: 2}}, ".MinOrder: 5 is above MaxOrder, which is 2"},
		{slub.Config{Slabs: slub.SlabLimits{MinOrder: 4}}, ".MinOrder: 4 is above MaxOrder, which is 3"},
		{slub.Config{Slabs: slub.SlabLimits{MinObjects: -1}}, ".MinObjects: -1 is negative"},
	},
	"Flags": {
		{slub.Config{Flags: 1 << 31}, "there is no flag 0x80000000"},
		{slub.Config{Flags: slub.TypesafeByRCU | slub.InitOnAlloc}, "readers of TypesafeByRCU would find objects that InitOnAlloc or InitOnFree clears"},
	},
	"RCUDelay": {{slub.Config{RCUDelay: -time.Second}, "-1s is negative"}},
	"RCUSoftLimit": {
		{slub.Config{RCUSoftLimit: 3, RCUHardLimit: 2}, "3 bytes are above RCUHardLimit, which is 2"},
		{slub.Config{RCUSoftLimit: -1, RCUHardLimit: 2}, "-1 is negative; Unlimited has no bound"},
	},
	"RCUHardLimit": {{slub.Config{RCUHardLimit: -1}, "-1 is negative; Unlimited has no bound"}},
	"RCUMaxWait":   {{slub.Config{RCUMaxWait: -time.Second}, "-1s is negative; Unlimited has no bound"}},
	"ProfileRate":  {{slub.Config{ProfileRate: -2}, "-2 is negative; None takes no samples"}},
	"GuardRate":    {{slub.Config{GuardRate: -2}, "-2 is negative; None guards no object"}},
	"Hardened":     {{slub.Config{Hardened: 2}, "2 is neither On, which is 1, nor None, which is -1, nor 0 for automatic"}},
	"Debug": {
		{slub.Config{Debug: "FX"}, `"FX": there is no flag 'X', only FZPUTAQ, or - alone for none`},
		{slub.Config{Debug: "F", Hardened: slub.On}, "the cache can't be Hardened as well: FZP finds what a hardened cache finds, and more"},
	},
	"DebugAction": {{slub.Config{DebugAction: 4}, "there is no action 4"}},
	// Of these every value means something.
	"Tag": nil, "Hooks": nil, "Domain": nil, "Group": nil, "CallSites": nil,
}

// Each problem of a config names cache, field and value.
func TestConfigTexts(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[slub.Config]()) {
		cases, known := badConfigs[f.Name]
		if !known && f.IsExported() {
			t.Errorf("Config.%s: nothing is said of what may be wrong with it", f.Name)
		}
		for _, c := range cases {
			name := "victim"
			if c.cfg.Name == "" {
				c.cfg.Name = name
			} else {
				name = c.cfg.Name
			}
			if c.cfg.Size == 0 {
				c.cfg.Size = 64
			}
			separator := ": "
			if strings.HasPrefix(c.says, ".") {
				separator = ""
			}
			_, err := slub.New(nil, c.cfg)
			saysConfigError(t, err, `slub: cache "`+name+`": Config.`+f.Name+separator+c.says)
		}
	}
}

// So do those of Buckets, of types, and of what methods are asked for.
func TestConfigErrorTexts(t *testing.T) {
	buckets := func(cfg slub.BucketsConfig) error {
		_, err := slub.NewBuckets(nil, cfg)
		return err
	}
	c := open(t, nil, slub.Config{Name: "sheaved", Size: 64})
	bare := open(t, nil, slub.Config{Name: "bare", Size: 64, Flags: slub.NoSheaves})
	_, zero := slub.NewTyped[struct{}](nil, slub.Config{Name: "empty"})
	_, small := slub.NewTyped[[2]uint64](nil, slub.Config{Size: 7})
	_, skewed := slub.NewTyped[point](nil, slub.Config{Align: 4})
	_, large := slub.New(newArena(t, smallArena), slub.Config{Name: "large", Size: 4 * mib, Ctor: func(unsafe.Pointer) {}})
	_, none := c.Prefill(0)
	_, sheafless := bare.Prefill(1)
	pre, err := c.Prefill(1)
	if err != nil {
		t.Fatal(err)
	}
	pre.Return()
	for want, err := range map[string]error{
		`buckets "no blanks": BucketsConfig.Name: "no blanks" makes caches such as "no blanks-1048576": want 1 to 64 letters, digits and _-.:/`: buckets(slub.BucketsConfig{Name: "no blanks"}),
		`buckets "malloc": BucketsConfig.Partitions: 65 is not within 0..64`:                                                                    buckets(slub.BucketsConfig{Partitions: 65}),
		`buckets "malloc": BucketsConfig.Partitions: -1 is not within 0..64`:                                                                    buckets(slub.BucketsConfig{Partitions: -1}),
		`buckets "malloc": BucketsConfig.Flags: 0x8 is neither InitOnAlloc nor InitOnFree`:                                                      buckets(slub.BucketsConfig{Flags: slub.NoSheaves | slub.InitOnFree}),
		`buckets "malloc": BucketsConfig.RCUDelay: -1s is negative`:                                                                             buckets(slub.BucketsConfig{RCUDelay: -time.Second}),
		`buckets "up": BucketsConfig.RCUSoftLimit: 3 bytes are above RCUHardLimit, which is 2`:                                                  buckets(slub.BucketsConfig{Name: "up", RCUSoftLimit: 3, RCUHardLimit: 2}),

		`cache "empty": Config.Size: type struct {} has none`:                                                                  zero,
		`cache "size-7": Config.Size: 7 is less than the 16 of [2]uint64`:                                                      small,
		`cache "slub_test.point": Config.Align: 4 is less than the 8 of slub_test.point`:                                       skewed,
		`cache "large": Config.Size: 4194304, with alignment and link 4194312, does not fit the largest slab of 4194304 bytes`: large,

		`cache "sheaved": SetSheafCapacity: -1 is not within 0..32767 objects`:                                   c.SetSheafCapacity(-1),
		`cache "bare": SetSheafCapacity: the cache has NoSheaves`:                                                bare.SetSheafCapacity(5),
		`cache "sheaved": SetBarnLimits.full: -2 sheaves are not within 0..2147483647; None keeps none`:          c.SetBarnLimits(-2, 0),
		`cache "sheaved": SetBarnLimits.empty: 2147483648 sheaves are not within 0..2147483647; None keeps none`: c.SetBarnLimits(0, 1<<31),
		`cache "bare": SetBarnLimits: the cache has NoSheaves`:                                                   bare.SetBarnLimits(5, 5),
		`cache "sheaved": SetMinPartial: -2 is negative; None keeps none`:                                        c.SetMinPartial(-2),
		`cache "sheaved": SetRemoteDefragRatio: 101 is not within 0..100; None never looks`:                      c.SetRemoteDefragRatio(101),
		`cache "sheaved": Prefill: 0 objects, want 1 or more`:                                                    none,
		`cache "bare": Prefill: the cache has NoSheaves`:                                                         sheafless,
		`cache "sheaved": Refill: the prefilled sheaf was returned`:                                              pre.Refill(1),
	} {
		saysConfigError(t, err, "slub: "+want)
	}
}

func saysConfigError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case !errors.Is(err, slub.ErrConfig):
		t.Errorf("%v, want %s", err, want)
	case err.Error() != want:
		t.Errorf("text is\n%v, want\n%s", err, want)
	}
}
