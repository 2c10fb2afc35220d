"""Remember: what may be kept, for whom, why, until when?"""
