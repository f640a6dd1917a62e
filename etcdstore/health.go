package etcdstore

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Health is how the cluster stands.
type Health struct {
	Members []Member // Members are those at the client's endpoints.
	Leader  bool     // Leader says that a member knows of a leader.
	NoSpace bool     // NoSpace says that a member has reached its quota: every write is [ErrFull] until the alarm is disarmed.
	Corrupt bool     // Corrupt says that members have found their data to differ.
}

// Member is a member of the cluster. Sizes are in bytes.
type Member struct {
	Endpoint string
	Err      error  // Err is why the member did not answer; nothing else is set then.
	Version  string // Version is the server's.
	Leads    bool
	Size     int64  // Size is that of its file, of which no more than Quota is taken.
	InUse    int64  // InUse is how much of it a defragmentation would leave.
	Quota    int64  // Quota is 0 where the server does not say.
	Lag      uint64 // Lag is how many entries of the log it has yet to apply.
}

// Health asks every member. It returns the error of ctx, or [ErrUnavailable] if none answers. Where the cluster checks permissions, it
// tells a user what that user may know.
func (b *Backend) Health(ctx context.Context) (h Health, err error) {
	leave, err := b.enter(ctx)
	if err != nil {
		return Health{}, err
	}
	defer leave()
	answers := false
	for _, endpoint := range b.client.Endpoints() {
		m := Member{Endpoint: endpoint}
		request, cancel := b.requestContext(ctx)
		s, failed := b.client.Status(request, endpoint)
		cancel()
		if failed != nil {
			m.Err, err = explain(ctx, failed), failed
			h.Members = append(h.Members, m)
			continue
		}
		answers = true
		m.Version, m.Leads, m.Size, m.InUse, m.Quota = s.Version, s.Leader == s.Header.MemberId, s.DbSize, s.DbSizeInUse, s.DbSizeQuota
		m.Lag = s.RaftIndex - min(s.RaftIndex, s.RaftAppliedIndex)
		h.Leader = h.Leader || s.Leader != 0
		h.Members = append(h.Members, m)
	}
	if !answers {
		return h, explain(ctx, err)
	}
	request, cancel := b.requestContext(ctx)
	defer cancel()
	alarms, err := b.client.AlarmList(request)
	if err != nil {
		return h, explain(ctx, err)
	}
	for _, alarm := range alarms.Alarms {
		h.NoSpace = h.NoSpace || alarm.Alarm == etcdserverpb.AlarmType_NOSPACE
		h.Corrupt = h.Corrupt || alarm.Alarm == etcdserverpb.AlarmType_CORRUPT
	}
	return h, nil
}
