package main

import (
	"fmt"
	"os"
	"time"
)

const (
	idleEnough  = 0.95                  // of the processors' time
	settleEvery = 50 * time.Millisecond // how long they are looked at
	settleMost  = 40                    // how often at most
)

// settle waits until the processors have next to nothing to do, for some seconds at most: what a server, a compaction or a log has left to do
// after one's turn is not to be done in the next one's. Where the kernel does not tell, and in a quick run, it does not wait.
func (b *bench) settle() {
	if b.quick {
		return
	}
	for range settleMost {
		before, err := processors()
		if err != nil {
			return
		}
		time.Sleep(settleEvery)
		after, err := processors()
		if err != nil || after.idle-before.idle >= idleEnough*(after.all-before.all) {
			return
		}
	}
}

// ticks are how the processors' time has been spent since the machine started.
type ticks struct{ idle, all float64 }

func processors() (t ticks, err error) {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return t, err
	}
	defer file.Close()
	const kinds = 8 // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of the first two
	var spent [kinds]float64
	if _, err := fmt.Fscanf(file, "cpu %f %f %f %f %f %f %f %f",
		&spent[0], &spent[1], &spent[2], &spent[3], &spent[4], &spent[5], &spent[6], &spent[7]); err != nil {
		return t, err
	}
	for _, n := range spent {
		t.all += n
	}
	t.idle = spent[3] // to wait for the disk is to have something to do
	return t, nil
}
