package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"example.com/tokenstore/internal/daemon"
	"github.com/redis/go-redis/v9"
)

// exchangeScript is a compare-and-swap of a token's digest, with its index.
var exchangeScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'd') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'd', ARGV[2], 'v', ARGV[3])
redis.call('DEL', 'd:' .. ARGV[1])
redis.call('SET', 'd:' .. ARGV[2], ARGV[4])
return 1`)

// verifyScript looks up a record by the digest of a secret, in one round trip.
var verifyScript = redis.NewScript(`
local id = redis.call('GET', KEYS[1])
if not id then return false end
return redis.call('HGET', 't:' .. id, 'v')`)

// redisServer is Redis with an append-only file that is synced before a command is answered. A token is a hash, with a key
// by digest and sets by user, session and client, written in one MULTI.
func redisServer(ctx context.Context, dir string, find finder) (*contender, error) {
	path, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	server, err := daemon.Start(dir, nil, path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0")
	if err != nil {
		return nil, err
	}
	db := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), PoolSize: 80})
	stop := func() error { return errors.Join(db.Close(), server.Stop(syscall.SIGTERM)) }
	durable, err := redisDurability(ctx, db, server)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return redisContender(db, durable, stop), nil
}

// redisDurability reads back what the server does before it answers.
func redisDurability(ctx context.Context, db *redis.Client, server *daemon.Process) (string, error) {
	if err := server.Ready(ctx, func(ctx context.Context) error { return db.Ping(ctx).Err() }); err != nil {
		return "", err
	}
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync"} {
		got, err := db.ConfigGet(ctx, name).Result()
		if err != nil {
			return "", err
		}
		settings[name] = got[name]
	}
	if settings["appendonly"] != "yes" || settings["appendfsync"] != "always" {
		return "", fmt.Errorf("it is not durable: %v", settings)
	}
	return "CONFIG GET says appendonly yes, appendfsync always", nil
}

func redisContender(db *redis.Client, durable string, stop func() error) *contender {
	p := &peer{}
	put := func(ctx context.Context, to redis.Pipeliner, r *row) {
		id, digest := string(r.id[:]), string(r.digest[:])
		to.HSet(ctx, "t:"+id, "d", digest, "u", r.user, "s", r.session, "c", r.client, "v", r.value)
		to.Set(ctx, "d:"+digest, id, 0)
		to.SAdd(ctx, "u:"+r.user, id)
		to.SAdd(ctx, "s:"+r.session, id)
		to.SAdd(ctx, "c:"+r.client, id)
	}
	return &contender{
		name: redisName, durable: durable,
		hold: p.hold,
		fill: func(ctx context.Context, rows []row) error {
			for at := 0; at < len(rows); at += 1000 {
				pipe := db.Pipeline()
				for i := at; i < min(at+1000, len(rows)); i++ {
					put(ctx, pipe, &rows[i])
				}
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		issue: func(ctx context.Context, r *row) error {
			_, err := db.TxPipelined(ctx, func(pipe redis.Pipeliner) error { put(ctx, pipe, r); return nil })
			return err
		},
		get: func(ctx context.Context, i int) error {
			record, err := db.HGetAll(ctx, "t:"+string(p.rows[i].id[:])).Result()
			if err == nil && len(record["v"]) != valueSize {
				err = errLost
			}
			return err
		},
		verify: func(ctx context.Context, i int) error {
			digest := sha256.Sum256(p.secrets[i][:])
			value, err := verifyScript.Run(ctx, db, []string{"d:" + string(digest[:])}).Text()
			if err == nil && len(value) != valueSize {
				err = errLost
			}
			return err
		},
		exchange: func(ctx context.Context, i int) error {
			return p.rotate(i, func(r *row, old, new [32]byte) error {
				id := string(r.id[:])
				done, err := exchangeScript.Run(ctx, db, []string{"t:" + id}, old[:], new[:], r.value, id).Int()
				if err == nil && done != 1 {
					err = errLost
				}
				return err
			})
		},
		revoke: func(ctx context.Context, i int) error { return redisRemove(ctx, db, []string{string(p.rows[i].id[:])}) },
		revokeUser: func(ctx context.Context, user string) error {
			ids, err := db.SMembers(ctx, "u:"+user).Result()
			for err == nil && len(ids) > 0 {
				n := min(len(ids), 1000)
				err = redisRemove(ctx, db, ids[:n])
				ids = ids[n:]
			}
			return err
		},
		close: stop,
	}
}

// redisRemove ends tokens: their records and digests go in one MULTI, and with them what they can be used by.
func redisRemove(ctx context.Context, db *redis.Client, ids []string) error {
	pipe := db.Pipeline()
	digests := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		digests[i] = pipe.HGet(ctx, "t:"+id, "d")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	keys := make([]string, 0, 2*len(ids))
	for i, id := range ids {
		keys = append(keys, "t:"+id, "d:"+digests[i].Val())
	}
	return db.Del(ctx, keys...).Err()
}
