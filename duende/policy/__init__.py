"""What guards a daemon: circuit breaker, rate limiter, bounded queue and retries at run time; quality and Jidoka gates before it is deployed."""
