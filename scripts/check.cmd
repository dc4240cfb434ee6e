@py -3 "%~dp0check" %*
@exit /b %ERRORLEVEL%
